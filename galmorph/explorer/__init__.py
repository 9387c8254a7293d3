"""Map, gallery, neighbours and labels of a run, in the browser or a notebook."""
