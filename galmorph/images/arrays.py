"""Arrays to cutouts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    AmbiguousShapeError,
    BandError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.bands import RENDERED_NAMES, choose_planes
from galmorph.images.cutout import Array, Cutout
from galmorph.images.library import check_pixels
from galmorph.images.planes import lay_on_black, to_rendered
from galmorph.images.raster import grey_cutout
from galmorph.quantities import to_masked
from galmorph.settings import ReadOptions

WAY_OUT = (
    "give one image as (y, x), (y, x, 3) or (3, y, x), a stack as (n, 3, y, x) or (n, y, x, 3), "
    "grey images as a list of (y, x), other bands as (band, y, x) with --bands"
)
RENDERED_TYPES = "values are rendered colours only as uint8, uint16, or floats in [0, 1]"


def is_tensor(item: Any) -> bool:
    """Whether it is a tensor of torch."""
    return hasattr(item, "detach") and hasattr(item, "cpu")


def to_array(item: Any) -> Array:
    """Numpy array of an array-like or a torch tensor; masked floats become NaN."""
    item = to_masked(item)
    if is_tensor(item):
        item = item.detach().cpu()
        if not hasattr(np, str(item.dtype).removeprefix("torch.")):  # bfloat16
            item = item.float()
        item = item.numpy()
    if isinstance(item, np.ma.MaskedArray) and item.dtype.kind == "f":
        item = item.filled(np.nan)
    return np.asarray(item)


def find_masked(item: Any, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """Masked pixels (y, x) of an image in integers; None for none."""
    item = to_masked(item)
    if not isinstance(item, np.ma.MaskedArray) or item.dtype.kind == "f":
        return None
    mask = np.ma.getmaskarray(item)
    if not mask.any():
        return None
    if mask.ndim == 2:
        return mask
    return np.asarray(mask.any(axis=0 if mask.shape[1:] == shape else 2))


def cutout_from_array(array: Array, options: ReadOptions, unit: str = "") -> Cutout:
    """Make a cutout of an array whose row 0 is the top.

    uint8, uint16 and floats in [0, 1] are rendered; with a unit, or named bands, it is flux.
    """
    if array.dtype.kind not in "fiub":
        raise UnsupportedImageError(f"an array of type {array.dtype} is not an image")
    if array.size == 0:
        raise UnreadableImageError(f"the array is empty {array.shape}")
    check_pixels(array.size, f"an array of shape {array.shape}", options)
    planes = order_axes(array, options.bands)
    as_flux = bool(unit) or options.bands not in (None, RENDERED_NAMES)
    rendered = None if as_flux else to_rendered(planes)
    if rendered is not None and planes.shape[0] in (1, 3):
        return Cutout(rendered) if planes.shape[0] == 3 else grey_cutout(rendered[0])
    if options.bands is None and planes.shape[0] > 1:
        why = f"it has the unit {unit}" if unit else f"{array.dtype} {RENDERED_TYPES}"
        raise BandError(
            f"it is flux, because {why}; name its {planes.shape[0]} planes, as in --bands g,r,z, "
            "or convert a rendered image to uint8"
        )
    bands, _ = choose_planes(None, options.bands, planes.shape[0])
    flux = np.ascontiguousarray(planes, dtype=np.float32)
    return Cutout(flux, bands, "flux", unit=unit)


def order_axes(array: Array, bands: Sequence[str] | None) -> Array:
    """Bring an array to (band, y, x), refusing what could mean two things."""
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise AmbiguousShapeError(f"an array of shape {array.shape} is no image; {WAY_OUT}")
    counts = (1, 3) if bands is None else (len(bands),)
    first, last = array.shape[0] in counts, array.shape[2] in counts
    if bands is None and array.dtype == np.uint8 and array.shape[2] == 4 and not first:
        return np.moveaxis(lay_on_black(array), 2, 0)
    if first == last:
        raise AmbiguousShapeError(
            f"in an array of shape {array.shape} the band axis cannot be told; {WAY_OUT}"
        )
    return array if first else np.moveaxis(array, 2, 0)
