"""Which part of a frame the network sees, and how it is brought to the network's size."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from galmorph.images.cutout import Array

FADE = 0.12  # of the field of view: within it the frame's rim falls to the sky by 1/e
SKY_PERCENTILE = 5  # of the rim: its faintest pixels are sky even where the galaxy reaches it
BORDER = 0.05  # of a frame's side: rim whose median stands for a field beside the frame
Edges = tuple[float, float, float, float]
"""Left, top, right, bottom of a rectangle in pixel edges."""


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
    return np.median(array[:, rim], axis=1).astype(array.dtype)


def _resize(array: Array, edges: Edges, shape: tuple[int, int], interpolation: str) -> Array:
    """Bring a rectangle inside the array to ``shape`` (y, x)."""
    if (whole := _find_whole(array, edges)) is not None:
        return shrink_all([whole], shape, interpolation)[0]
    if array.dtype == np.uint8:
        return resize(array, shape, interpolation, edges)
    size, method = shape[::-1], Image.Resampling[interpolation.upper()]
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


def fade_beyond(inside: Array, rows: range, columns: range, size: int) -> Array:
    """Carry an image (3, y, x) on to ``size`` by ``size`` pixels, in which it has a place.

    Along every ray from the middle the value of the rim falls exponentially to the sky, with a
    scale of `FADE` of the side: a galaxy that the frame cuts off has no edge then.
    """
    middle = (size - 1) / 2
    offset = np.arange(size, dtype=np.float32) - np.float32(middle)
    near_y, near_x = _reach(offset, rows, middle), _reach(offset, columns, middle)
    share = np.minimum(near_y[:, None], near_x)  # of the way along the ray to the rim
    from_y = np.rint(offset[:, None] * share + middle).astype(np.intp) - rows.start
    from_x = np.rint(offset * share + middle).astype(np.intp) - columns.start
    smooth = _smooth(inside)
    nearest = smooth[:, from_y.clip(0, len(rows) - 1), from_x.clip(0, len(columns) - 1)]
    sky = _faint_rim(smooth)[:, None, None]
    distance = np.hypot(offset[:, None], offset) * (1 - share)
    result = sky + (nearest - sky) * np.exp(distance / np.float32(-FADE * size))
    filled: Array = result.astype(inside.dtype)
    filled[:, rows.start : rows.stop, columns.start : columns.stop] = inside
    return filled


def _reach(offset: Array, covered: range, middle: float) -> Array:
    """Largest share of each offset from the middle that stays within the covered pixels."""
    limit = np.where(offset < 0, covered.start - middle, covered.stop - 1 - middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(offset == 0, 1, limit / offset)
    return np.clip(share, 0, 1).astype(np.float32)


def _smooth(array: Array) -> Array:
    """Mean of 3 by 3 pixels as float32, the rim repeated."""
    padded = np.pad(array.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return np.asarray((rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / np.float32(9))


def _faint_rim(array: Array) -> Array:
    """What is likely to be sky: low percentile of the outermost pixels of each plane."""
    rim = np.concatenate([array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1]], axis=1)
    return np.asarray(np.percentile(rim, SKY_PERCENTILE, axis=1), dtype=np.float32)


def shrink_all(
    arrays: Sequence[Array], shape: tuple[int, int], interpolation: str = "bilinear"
) -> list[Array]:
    """Bring planes (3, y, x) to rows and columns by a filter as wide as the reduction.

    Any strides, any sizes; those of one size go through torch together, where it is loaded: it
    computes what Pillow does in a quarter of the time, and the few values that differ do so by 1 of
    255. Where pixels are added, Pillow does it alone. The results are contiguous.
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
