"""Which part of a frame the network sees, and how it is brought to the network's size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["Box", "central_box", "crop_box", "resample"]

BORDER = 0.05
"""Width of the rim whose median pads what lies beyond the frame, as a fraction of its side."""


@dataclass(frozen=True, slots=True)
class Box:
    """A square in pixel edges of an array: from (x, y) to (x + side, y + side), y downwards."""

    x: float
    y: float
    side: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x + self.y + self.side) and self.side > 0):
            raise ValueError(f"a box needs finite edges and a positive side, not {self}")

    def exceeds(self, height: int, width: int) -> bool:
        """Whether part of the box lies outside an array of that size."""
        tolerance = 1e-6 * self.side
        return (
            min(self.x, self.y) < -tolerance
            or self.x + self.side > width + tolerance
            or self.y + self.side > height + tolerance
        )


def central_box(
    height: int, width: int, side: float, *, center: tuple[float, float] | None = None
) -> Box:
    """Square of ``side`` pixels about the centre of the frame, or about ``center`` (x, y)."""
    x, y = center if center is not None else (width / 2, height / 2)
    return Box(x - side / 2, y - side / 2, side)


def crop_box(
    array: npt.NDArray[Any], box: Box, *, margin: int = 0
) -> tuple[npt.NDArray[Any], Box]:
    """Whole pixels that the box touches, and the box in their coordinates.

    Parameters
    ----------
    array : ndarray, shape (band, y, x)
        Any planes.
    box : Box
        Part to keep; may reach beyond the frame.
    margin : int
        Further pixels on every side, where the frame has them.

    Returns
    -------
    array : ndarray, shape (band, y, x)
        A view, no copy.
    box : Box
        The same square of the sky.
    """
    height, width = array.shape[1:]
    x0 = min(max(0, math.floor(box.x) - margin), width - 1)
    y0 = min(max(0, math.floor(box.y) - margin), height - 1)
    x1 = min(width, max(x0 + 1, math.ceil(box.x + box.side) + margin))
    y1 = min(height, max(y0 + 1, math.ceil(box.y + box.side) + margin))
    return array[:, y0:y1, x0:x1], Box(box.x - x0, box.y - y0, box.side)


def _rim_median(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Median of each plane along its rim: the sky, where a frame has any."""
    width = max(1, round(BORDER * min(array.shape[1:])))
    rim = np.ones(array.shape[1:], dtype=bool)
    rim[width:-width, width:-width] = False
    return np.median(array[:, rim], axis=1).astype(array.dtype)


def _pad(array: npt.NDArray[Any], box: Box) -> tuple[npt.NDArray[Any], Box]:
    """Surround the frame with its rim's median, so that the box lies inside."""
    height, width = array.shape[1:]
    left, top = max(0, math.ceil(-box.x)), max(0, math.ceil(-box.y))
    right = max(0, math.ceil(box.x + box.side - width))
    bottom = max(0, math.ceil(box.y + box.side - height))
    shape = (array.shape[0], top + height + bottom, left + width + right)
    padded = np.empty(shape, dtype=array.dtype)
    padded[:] = _rim_median(array)[:, None, None]
    padded[:, top : top + height, left : left + width] = array
    return padded, Box(box.x + left, box.y + top, box.side)


def _resize_uint8(array: npt.NDArray[Any], box: Box, size: int) -> npt.NDArray[Any]:
    interleaved = np.ascontiguousarray(array.transpose(1, 2, 0))
    edges = (box.x, box.y, box.x + box.side, box.y + box.side)
    image = Image.fromarray(interleaved).resize((size, size), Image.Resampling.BILINEAR, box=edges)
    return np.asarray(image).transpose(2, 0, 1)


def _resize_float(array: npt.NDArray[Any], box: Box, size: int) -> npt.NDArray[Any]:
    edges = (box.x, box.y, box.x + box.side, box.y + box.side)
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane)).resize(
                (size, size), Image.Resampling.BILINEAR, box=edges
            )
        )
        for plane in array
    ]
    return np.stack(planes)


def _snap(box: Box, height: int, width: int) -> Box:
    """Take off what rounding lets the box stick out; Pillow refuses even that."""
    x, y = max(0.0, box.x), max(0.0, box.y)
    return Box(x, y, min(box.side, width - x, height - y))


def resample(array: npt.NDArray[Any], box: Box, size: int) -> tuple[npt.NDArray[Any], bool]:
    """Bring the box to ``size`` by ``size`` pixels.

    A triangle filter as wide as the reduction (bilinear with antialiasing, Pillow's), so that
    every pixel of the box counts.

    Parameters
    ----------
    array : ndarray, shape (3, y, x)
        uint8, or float32 without NaN.
    box : Box
        Field of view; where it reaches beyond the frame, the median of the frame's rim is seen.
    size : int
        Side of the result in pixels.

    Returns
    -------
    array : ndarray, shape (3, size, size)
        Of the same dtype.
    padded : bool
        Whether the box reached beyond the frame.
    """
    height, width = array.shape[1:]
    padded = box.exceeds(height, width)
    if padded:
        array, box = _pad(array, box)
    array, box = crop_box(array, box)
    box = _snap(box, *array.shape[1:])
    resize = _resize_uint8 if array.dtype == np.uint8 else _resize_float
    return resize(array, box, size), padded
