"""Released weights: what there is, where it is, and whether it is what was published."""
