"""Arrays of any axes, type and byte order to the planes of a cutout."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from galmorph.errors import UnsupportedImageError
from galmorph.images.cutout import RENDERED_BANDS, Array


def find_image_axes(shape: Sequence[int]) -> tuple[int, int]:
    """Which axes of a numpy shape are y and x: the last two that are longer than 1."""
    long = [n for n, length in enumerate(shape) if length > 1]
    if len(long) < 2:
        return len(shape) - 2, len(shape) - 1
    if len(long) == 3 and shape[long[2]] == 3 and shape[long[0]] not in (2, 3, 4):  # colours last
        return long[0], long[1]
    return long[-2], long[-1]


def find_image_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of an array of any axes."""
    y, x = find_image_axes(shape)
    return int(shape[y]), int(shape[x])


def drop_axes(array: Array, shape: Sequence[int] | None = None) -> Array:
    """Planes (band, y, x) of an array, or of a piece of one of that shape, without axes of 1."""
    array = np.moveaxis(array, find_image_axes(shape or array.shape), (-2, -1))
    array = np.squeeze(array, axis=tuple(n for n in range(array.ndim - 2) if array.shape[n] == 1))
    if array.ndim not in (2, 3):
        raise UnsupportedImageError(
            f"the array has {array.ndim} axes: {' x '.join(map(str, array.shape))}"
        )
    return array if array.ndim == 3 else array[None]


def to_cutout_array(
    array: Array, bands: tuple[str, ...]
) -> tuple[Array, Literal["rendered", "flux"]]:
    """(band, y, x), row 0 at the bottom, to uint8 (RGB) or float32 with row 0 on top."""
    flipped = array[:, ::-1, :]
    if flipped.dtype.kind not in "fiub":
        raise UnsupportedImageError(f"pixels of type {array.dtype} are not numbers")
    if bands == RENDERED_BANDS and (rendered := to_rendered(flipped)) is not None:
        return rendered, "rendered"
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(flipped, dtype=np.float32), "flux"


def to_rendered(array: Array) -> Array | None:
    """Bring pixels that are already stretched to uint8 or to float32 in [0, 1], else None."""
    if array.dtype == np.uint8:
        return array
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
