"""Values of astropy as the plain arrays that galmorph takes."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["to_masked"]


def to_masked(item: Any) -> Any:
    """A `Masked` array or quantity of astropy as a masked array; anything else as it is."""
    if not hasattr(item, "unmasked"):
        return item
    return np.ma.MaskedArray(np.asarray(item.unmasked), np.asarray(item.mask))
