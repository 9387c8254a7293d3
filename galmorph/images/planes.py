"""Arrays of any axes, type and byte order to the planes of a cutout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from galmorph.errors import UnsupportedImageError
from galmorph.images.bands import RENDERED_NAMES

__all__ = [
    "blank_to_nan",
    "drop_axes",
    "find_blank",
    "lay_on_black",
    "stack_planes",
    "to_cutout_array",
    "to_rendered",
]

Array = npt.NDArray[Any]


def drop_axes(array: Array) -> Array:
    """Drop axes of length 1 in front of the last two, and put a last axis of 3 in front."""
    leading = [n for n in range(array.ndim - 2) if array.shape[n] == 1]
    array = np.squeeze(array, axis=tuple(leading))
    if array.ndim == 2:
        return array[None]
    if array.ndim == 3 and array.shape[2] == 3 and array.shape[0] not in (2, 3, 4):
        return np.moveaxis(array, 2, 0)
    if array.ndim != 3:
        raise UnsupportedImageError(f"the array has {array.ndim} axes: {array.shape}")
    return array


def find_blank(header: Mapping[str, Any]) -> float:
    """Value of blank pixels of an integer image that is read as integers; NaN where there is none.

    To be asked before the pixels are read, because astropy then changes the header. astropy itself
    applies BLANK, except where BZERO only makes unsigned integers of signed ones.
    """
    blank = header.get("BLANK", header.get("ZBLANK"))
    if isinstance(blank, bool) or not isinstance(blank, int):
        return math.nan
    return blank + float(header.get("BZERO", 0))


def blank_to_nan(array: Array, blank: float) -> Array:
    """Make NaN of the blank pixels of an integer array; see `find_blank`."""
    if math.isnan(blank) or array.dtype.kind not in "iu":
        return array
    bad = array == blank
    return np.where(bad, np.float32(np.nan), array.astype(np.float32)) if bad.any() else array


def stack_planes(arrays: list[Array], path: str) -> Array:
    """Join (band, y, x) arrays along the bands.

    Raises
    ------
    UnsupportedImageError
        Their sizes differ.
    """
    if len(arrays) == 1:
        return arrays[0]
    shapes = {array.shape[-2:] for array in arrays}
    if len(shapes) > 1:
        raise UnsupportedImageError(f"bands of different sizes: {sorted(shapes)}", path)
    return np.concatenate(arrays, axis=0)


def to_cutout_array(
    array: Array, bands: tuple[str, ...]
) -> tuple[Array, Literal["rendered", "flux"]]:
    """Flip rows so that row 0 is on top, and make native uint8 (RGB) or float32 (flux).

    Parameters
    ----------
    array : ndarray, shape (band, y, x)
        Any real type and byte order, row 0 at the bottom.
    bands : tuple of str
        Red, green, blue in this order say that the planes are on a display stretch.
    """
    flipped = array[:, ::-1, :]
    if flipped.dtype.kind not in "fiub":
        raise UnsupportedImageError(f"pixels of type {array.dtype} are not numbers")
    if bands == RENDERED_NAMES:
        rendered = to_rendered(flipped)
        if rendered is not None:
            return rendered, "rendered"
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(flipped, dtype=np.float32), "flux"


def to_rendered(array: Array) -> Array | None:
    """Bring pixels that are already stretched to uint8 or to float32 in [0, 1], else None."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # in either byte order
        return np.ascontiguousarray(array, dtype=np.float32) / np.float32(65535)
    if array.dtype.kind != "f":
        return None
    values = np.ascontiguousarray(array, dtype=np.float32)
    finite = values[np.isfinite(values)]
    inside = finite.size == 0 or (finite.min() >= 0 and finite.max() <= 1)
    return values if inside else None


def lay_on_black(pixels: Array) -> Array:
    """Drop the alpha channel of (y, x, 4) uint8 pixels; transparent ones turn black like sky."""
    alpha = pixels[:, :, 3:]
    if (alpha == 255).all():
        return pixels[:, :, :3]
    weighted = pixels[:, :, :3].astype(np.uint16) * alpha
    return ((weighted + 127) // 255).astype(np.uint8)
