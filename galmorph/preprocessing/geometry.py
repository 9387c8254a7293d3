"""Which part of a frame the network sees, and how it is brought to the network's size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from galmorph.images.cutout import Array
from galmorph.preprocessing.beyond import fade_beyond
from galmorph.preprocessing.shrink import interleave, separate, shrink_all

BORDER = 0.05  # of a frame's side: rim whose median stands for a field beside the frame


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

    def find_pixels(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns that the box touches of an array of that size."""
        x0 = min(max(0, math.floor(self.x)), width - 1)
        y0 = min(max(0, math.floor(self.y)), height - 1)
        x1 = min(width, max(x0 + 1, math.ceil(self.x + self.side)))
        y1 = min(height, max(y0 + 1, math.ceil(self.y + self.side)))
        return slice(y0, y1), slice(x0, x1)


def central_box(
    height: int, width: int, side: float, *, center: tuple[float, float] | None = None
) -> Box:
    """Square of ``side`` pixels about the centre of the frame, or about ``center`` (x, y)."""
    x, y = center if center is not None else (width / 2, height / 2)
    return Box(x - side / 2, y - side / 2, side)


def _rim_median(array: Array) -> Array:
    """Median of each plane along its rim: the sky, where a frame has any."""
    width = max(1, round(BORDER * min(array.shape[1:])))
    rim = np.ones(array.shape[1:], dtype=bool)
    rim[width:-width, width:-width] = False
    median: Array = np.median(array[:, rim], axis=1).astype(array.dtype)
    return median


Edges = tuple[float, float, float, float]
"""Left, top, right, bottom of a rectangle in pixel edges."""


def _resize(array: Array, edges: Edges, shape: tuple[int, int], interpolation: str) -> Array:
    """Bring a rectangle inside the array to ``shape`` (y, x)."""
    size, method = shape[::-1], Image.Resampling[interpolation.upper()]
    if array.dtype == np.uint8:
        whole = _find_whole(array, edges)
        if whole is not None:
            return shrink_all([whole], shape, interpolation)[0]
        image = Image.fromarray(interleave(array))
        return separate(np.asarray(image.resize(size, method, box=edges)))
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in array]
    small = np.stack([np.asarray(plane.resize(size, method, box=edges)) for plane in planes])
    # Bytes are clipped by Pillow; the triangle never leaves the range of what it sees.
    return small if interpolation == "bilinear" else np.clip(small, 0, 1)


def _find_whole(array: Array, edges: Edges) -> Array | None:
    """The rectangle itself, where it consists of whole 8-bit pixels."""
    x0, y0, x1, y1 = map(round, edges)
    whole = array.dtype == np.uint8 and (x0, y0, x1, y1) == edges
    return array[:, y0:y1, x0:x1] if whole else None


def resample_all(
    fields: Sequence[tuple[Array, Box]], size: int, interpolation: str = "bilinear"
) -> list[tuple[Array, bool]]:
    """Bring the box of each array (3, y, x) to ``size`` by ``size`` pixels, of the same dtype.

    uint8, or float32 without NaN; boxes of whole 8-bit pixels go together. The filter is as wide
    as the reduction (Pillow's, antialiased), so that every pixel of the box counts. Where the box
    reaches beyond the frame, which the second value says, the frame's rim fades into the sky.
    """
    done: dict[int, tuple[Array, bool]] = {}
    whole: dict[int, Array] = {}
    for k, (frame, box) in enumerate(fields):
        if box.exceeds(*frame.shape[1:]):
            done[k] = _resample_beyond(frame, box, size, interpolation), True
            continue
        rows, columns = box.find_pixels(*frame.shape[1:])
        array, x, y = frame[:, rows, columns], box.x - columns.start, box.y - rows.start
        # Pillow refuses even what rounding lets the box stick out.
        right, bottom = min(x + box.side, array.shape[2]), min(y + box.side, array.shape[1])
        edges = max(0.0, x), max(0.0, y), right, bottom
        part = _find_whole(array, edges)
        if part is None:
            done[k] = _resize(array, edges, (size, size), interpolation), False
        else:
            whole[k] = part
    small = shrink_all(list(whole.values()), (size, size), interpolation)
    done |= {k: (pixels, False) for k, pixels in zip(whole, small, strict=True)}
    return [done[k] for k in range(len(fields))]


def _resample_beyond(array: Array, box: Box, size: int, interpolation: str) -> Array:
    """The part of the box that the frame covers, with its rim carried on."""
    height, width = array.shape[1:]
    step = box.side / size
    rows = _covered(box.y, step, height, size)
    columns = _covered(box.x, step, width, size)
    if not (rows and columns):
        return np.broadcast_to(_rim_median(array)[:, None, None], (3, size, size)).copy()
    edges = (
        max(0.0, box.x + columns.start * step),
        max(0.0, box.y + rows.start * step),
        min(float(width), box.x + columns.stop * step),
        min(float(height), box.y + rows.stop * step),
    )
    inside = _resize(array, edges, (len(rows), len(columns)), interpolation)
    return fade_beyond(inside, rows, columns, size)


def _covered(start: float, step: float, length: int, size: int) -> range:
    """Indices of the ``size`` pixels of the result whose middle lies on the frame."""
    first = max(0, math.ceil(-start / step - 0.5))
    last = min(size, math.ceil((length - start) / step - 0.5))
    return range(first, max(first, last))
