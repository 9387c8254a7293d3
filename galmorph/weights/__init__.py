"""Released weights: what there is, where it is, and whether it is what was published."""

from galmorph.weights.hub import HubFile, fetch_hub_file
from galmorph.weights.locate import WeightsFile, find_weights, locate_weights
from galmorph.weights.manifest import (
    ExpectedInput,
    FieldOfView,
    Golden,
    Head,
    Manifest,
    ManifestEntry,
    Metric,
    load_manifest,
)

__all__ = [
    "ExpectedInput", "FieldOfView", "Golden", "Head", "HubFile", "Manifest", "ManifestEntry",
    "Metric", "WeightsFile", "fetch_hub_file", "find_weights", "load_manifest", "locate_weights",
]  # fmt: skip
