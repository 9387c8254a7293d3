"""Whole 8-bit pixels to another size: by torch where it is loaded, else by Pillow, alike.

torch's antialiased interpolation of bytes computes what Pillow's resize does, in a quarter of the
time (it uses vector instructions); the few values that differ do so by 1 of 255.
`galmorph classify --backend onnx` runs without torch, and where pixels are added, not taken away,
Pillow does it alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["interleave", "separate", "shrink_all"]

Array = npt.NDArray[np.uint8]


def shrink_all(arrays: Sequence[Array], shape: tuple[int, int]) -> list[Array]:
    """Bring planes to ``shape`` by a triangle filter as wide as the reduction.

    Parameters
    ----------
    arrays : sequence of ndarray of uint8, shape (3, y, x)
        Any strides, any sizes; those of one size go through torch together.
    shape : (int, int)
        Rows and columns of the result.

    Returns
    -------
    list of ndarray of uint8, shape (3, *shape)
        Contiguous.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return [_shrink_by_pillow(array, shape) for array in arrays]
    small: dict[int, Array] = {}
    groups: dict[tuple[int, ...], list[tuple[int, Array]]] = {}
    for k, array in enumerate(arrays):
        if shape[0] > array.shape[1] or shape[1] > array.shape[2]:
            small[k] = _shrink_by_pillow(array, shape)
            continue
        pixels = _find_pixels(array)
        groups.setdefault(pixels.shape, []).append((k, pixels))
    for group in groups.values():
        shrunk = _shrink_by_torch(torch, [pixels for _, pixels in group], shape)
        small.update((k, array) for (k, _), array in zip(group, shrunk, strict=True))
    return [small[k] for k in range(len(arrays))]


def _shrink_by_pillow(array: Array, shape: tuple[int, int]) -> Array:
    image = Image.fromarray(interleave(array))
    return separate(np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR)))


def _shrink_by_torch(torch: Any, blocks: Sequence[Array], shape: tuple[int, int]) -> Array:
    """Blocks (y, x, 3 or 4) of one shape, as (n, 3, *shape)."""
    batch = torch.from_numpy(np.stack(blocks)).permute(0, 3, 1, 2)
    small = torch.nn.functional.interpolate(batch, shape, mode="bilinear", antialias=True)
    result: Array = small[:, :3].contiguous().numpy()
    return result


def _find_pixels(array: Array) -> Array:
    """Planes as (y, x, 3 or 4), a view where they lie so in a decoder's memory.

    Pillow lends four bytes per pixel, simplejpeg gives three. To copy their rows whole is several
    times faster than to pick the bytes of each colour.
    """
    root: Any = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    channels = root.shape[-1] if root.ndim else 0
    if root.ndim != 3 or channels not in (3, 4) or root.strides[1:] != (channels, 1):
        return interleave(array)
    if root.dtype != array.dtype or root.strides[0] <= 0:
        return interleave(array)
    if array.shape[0] != 3 or array.strides != (1, root.strides[0], channels):
        return interleave(array)
    start = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    y, rest = divmod(start, root.strides[0])
    x, channel = divmod(rest, channels)
    if channel:
        return interleave(array)
    block: Array = root[y : y + array.shape[1], x : x + array.shape[2]]
    return block


def interleave(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(band, y, x) to contiguous (y, x, band).

    Plane by plane, because numpy's own way takes five times as long for three bands.
    """
    array = np.empty((*planes.shape[1:], planes.shape[0]), dtype=planes.dtype)
    for k, plane in enumerate(planes):
        array[:, :, k] = plane
    return array


def separate(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The inverse, contiguous as well."""
    planes = np.empty((array.shape[2], *array.shape[:2]), dtype=array.dtype)
    for k in range(len(planes)):
        planes[k] = array[:, :, k]
    return planes
