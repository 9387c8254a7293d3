"""Whole 8-bit pixels to another size: by torch where it is loaded, else by Pillow, alike.

torch's antialiased interpolation of bytes computes what Pillow's resize does, in a quarter of the
time; the few values that differ do so by 1 of 255. Where pixels are added, Pillow does it alone.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from galmorph.images.cutout import Array


def shrink_all(
    arrays: Sequence[Array], shape: tuple[int, int], interpolation: str = "bilinear"
) -> list[Array]:
    """Bring planes (3, y, x) to rows and columns by a filter as wide as the reduction.

    Any strides, any sizes; those of one size go through torch together. The results are contiguous.
    """
    torch = sys.modules.get("torch")
    small: dict[int, Array] = {}
    groups: dict[tuple[int, ...], list[tuple[int, Array]]] = {}
    for k, array in enumerate(arrays):
        if torch is None or shape[0] > array.shape[1] or shape[1] > array.shape[2]:
            small[k] = resize(array, shape, interpolation)
            continue
        pixels = _find_pixels(array)
        groups.setdefault(pixels.shape, []).append((k, pixels))
    for group in groups.values():
        blocks = [pixels for _, pixels in group]
        shrunk = _shrink_by_torch(torch, blocks, shape, interpolation)
        small.update((k, array) for (k, _), array in zip(group, shrunk, strict=True))
    return [small[k] for k in range(len(arrays))]


def resize(array: Array, shape: tuple[int, int], interpolation: str, box: Any = None) -> Array:
    """Bring bytes (3, y, x), or a box of them, to a shape (y, x) by Pillow."""
    image, method = Image.fromarray(interleave(array)), Image.Resampling[interpolation.upper()]
    return separate(np.asarray(image.resize(shape[::-1], method, box)))


def _shrink_by_torch(
    torch: Any, blocks: Sequence[Array], shape: tuple[int, int], interpolation: str
) -> Array:
    """Blocks (y, x, 3) of one shape, as (n, 3, *shape)."""
    batch = torch.from_numpy(np.stack(blocks)).permute(0, 3, 1, 2)
    small = torch.nn.functional.interpolate(batch, shape, mode=interpolation, antialias=True)
    return np.asarray(small.contiguous().numpy())


def _find_pixels(array: Array) -> Array:
    """Planes as (y, x, 3), a view where a decoder's memory has them so: rows are copied whole."""
    pixels = array.transpose(1, 2, 0)
    return pixels if pixels.strides[1:] == (3, 1) else interleave(array)


def interleave(planes: Array) -> Array:
    """(band, y, x) to contiguous (y, x, band).

    Plane by plane, because numpy's own way takes five times as long for three bands.
    """
    array = np.empty((*planes.shape[1:], planes.shape[0]), dtype=planes.dtype)
    for k, plane in enumerate(planes):
        array[:, :, k] = plane
    return array


def separate(array: Array) -> Array:
    """The inverse, contiguous as well."""
    planes = np.empty((array.shape[2], *array.shape[:2]), dtype=array.dtype)
    for k in range(len(planes)):
        planes[k] = array[:, :, k]
    return planes
