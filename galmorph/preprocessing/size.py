"""Size and place of the central galaxy, from its point-symmetric profile in circular apertures.

Galaxy Zoo 2 scaled its cutouts by the Petrosian radius (Petrosian 1976, ApJ 210, L53; in circular
apertures, as SDSS has it: Strauss et al. 2002, AJ 124, 1810), so the same kind of radius is
measured here, on the rendered image. Two things make it robust: a ring counts the fainter of every
two opposite points, which removes neighbours and keeps the galaxy; and the radius is a ratio of
surface brightnesses, which a frame that cuts the galaxy off changes little.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from galmorph.images.cutout import Array

WORKING_SIDE = 106  # pixels to which frames are about averaged down before the measurement
PETROSIAN_RATIO = 0.3
"""The radius lies where the surface brightness is this fraction of its mean within. SDSS takes 0.2;
the higher value is reached within frames that are smaller than the galaxy."""

NUM_RINGS, NUM_ANGLES = 24, 48
OUTERMOST = 0.6  # radius of the last ring, as a fraction of the shorter side: into the corners
MIN_PAIRS = 6  # opposite points inside the frame that a ring needs
CENTRAL_SIGMA = 0.06
"""The galaxy is the brightest source under a Gaussian of this width (fraction of the shorter side)
about the middle of the frame."""

MIN_CONTRAST = 0.02  # of a galaxy above the sky on [0, 1]: five steps of an 8-bit image
SIGNIFICANCE = 4.0  # the same in standard deviations of the noise
WELL_RESOLVED = 6.0  # averaged pixels; the part about a smaller galaxy is measured again, finer
MAX_UINT16_ROWS = 85  # so many 8-bit values of three planes can be added in 16 bits
_ANGLES = np.arange(NUM_ANGLES) * (2 * math.pi / NUM_ANGLES)
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)


class GalaxySize(NamedTuple):
    """What was measured, in pixels of the array, of which the middle of the first is (0.5, 0.5)."""

    radius: float  # Petrosian radius of the rendered, that is stretched, image
    x: float
    y: float


class Grey(NamedTuple):
    """A frame of one plane on [0, 1], averaged over blocks of ``factor`` by ``factor`` pixels."""

    plane: Array
    factor: int


def measure_sizes(frames: Iterable[tuple[Array, Grey]]) -> list[GalaxySize | None]:
    """Measure the galaxy nearest to the middle of each frame; None where nothing stands out there.

    Frames are rendered (3, y, x), and `to_grey` of them. Those of one shape go through together:
    the steps are many and small.
    """
    frames = list(frames)
    sizes: list[GalaxySize | None] = [None] * len(frames)
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, (_, grey) in enumerate(frames):
        groups.setdefault((grey.factor, *grey.plane.shape), []).append(k)
    parts: dict[int, tuple[Array, int, int]] = {}
    for (factor, *_), group in groups.items():
        smooth = _smooth(np.stack([frames[k][1].plane for k in group]))
        x, y = _find_centers(smooth)
        for n, radius in _measure_radii(smooth, x, y).items():
            k, center = group[n], (float(v[n] + 0.5) * factor for v in (x, y))
            sizes[k] = size = GalaxySize(radius * factor, *center)
            if radius < WELL_RESOLVED and factor > 1:
                parts[k] = _cut_out(frames[k][0], size)
    if parts:  # galaxies that are small in their frames are measured again, in the part about them
        found = measure_sizes((part, to_grey(part)) for part, _, _ in parts.values())
        for part, (k, (_, x0, y0)) in zip(found, parts.items(), strict=True):
            sizes[k] = part and GalaxySize(part.radius, part.x + x0, part.y + y0)
    return sizes


def _cut_out(array: Array, size: GalaxySize) -> tuple[Array, int, int]:
    """The part of a frame about a galaxy, and the column and row at which it begins."""
    half = max(4 * size.radius, WORKING_SIDE / 2)
    x0, y0 = (max(0, math.floor(c - half)) for c in (size.x, size.y))
    return array[:, y0 : math.ceil(size.y + half), x0 : math.ceil(size.x + half)], x0, y0


def to_grey(array: Array) -> Grey:
    """Mean of the planes (3, y, x), best taken while they are in the processor's cache."""
    factor = max(1, round(min(array.shape[1:]) / WORKING_SIDE))
    top = 255.0 if array.dtype == np.uint8 else 1.0
    weight = np.float32(1 / (top * len(array) * factor**2))
    interleaved = array.transpose(1, 2, 0)
    if interleaved.flags.c_contiguous:  # as rasters are read: one pass over memory
        pixels = interleaved.reshape(array.shape[1], -1)
        return Grey(_sum_blocks(pixels, factor, factor * len(array)) * weight, factor)
    narrow = np.uint16 if array.dtype == np.uint8 else np.float32
    return Grey(_sum_blocks(np.add.reduce(array, dtype=narrow), factor, factor) * weight, factor)


def _sum_blocks(plane: Array, rows: int, columns: int) -> Array:
    """Sums of blocks as float32; what does not fill a block at the end is left out."""
    height, width = plane.shape[0] // rows, plane.shape[1] // columns
    blocks = plane[: height * rows, : width * columns].reshape(height, rows, width * columns)
    narrow = np.uint16 if rows <= MAX_UINT16_ROWS else np.uint32
    total = blocks[:, 0].astype(narrow if plane.dtype.kind == "u" else np.float32)
    for row in range(1, rows):  # whole rows at a time: ten times faster than a sum over an axis
        np.add(total, blocks[:, row], out=total)
    cells = total.reshape(height, width, columns)
    result: Array = cells[:, :, 0].astype(np.float32)
    for column in range(1, columns):
        np.add(result, cells[:, :, column], out=result)
    return result


def _smooth(grey: Array) -> Array:
    """Mean of 3 by 3 pixels of each frame (n, y, x), the rim repeated."""
    count, height, width = grey.shape
    padded = np.empty((count, height + 2, width + 2), dtype=np.float32)
    padded[:, 1:-1, 1:-1] = grey
    padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]
    padded[:, :, 0], padded[:, :, -1] = padded[:, :, 1], padded[:, :, -2]
    rows = padded[:, :-2] + padded[:, 1:-1]
    rows += padded[:, 2:]
    smooth: Array = rows[:, :, :-2] + rows[:, :, 1:-1]
    smooth += rows[:, :, 2:]
    smooth *= np.float32(1 / 9)
    return smooth


@lru_cache(maxsize=64)
def _make_weights(height: int, width: int) -> Array:
    """Gaussian about the middle of a frame."""
    sigma = CENTRAL_SIGMA * min(height, width)
    rows = np.exp(-0.5 * ((np.arange(height) - (height - 1) / 2) / sigma) ** 2)
    columns = np.exp(-0.5 * ((np.arange(width) - (width - 1) / 2) / sigma) ** 2)
    return np.asarray(rows[:, None] * columns)


def _find_centers(smooth: Array) -> tuple[Array, Array]:
    """Centroid x and y of the peak nearest to the middle of each frame, in pixel centres."""
    count, height, width = smooth.shape
    weighted = (smooth - smooth.min(axis=(1, 2), keepdims=True)) * _make_weights(height, width)
    y, x = np.divmod(weighted.reshape(count, -1).argmax(axis=1), width)
    reach = max(1, round(0.04 * min(height, width)))
    around = np.arange(-reach, reach + 1)
    part, inside = _pick(smooth, y[:, None, None] + around[:, None], x[:, None, None] + around)
    part = part.astype(np.float64) - part.min(axis=(1, 2), keepdims=True)
    part *= inside
    total = part.sum(axis=(1, 2))
    total[total == 0] = np.inf  # a flat one is where it is
    return x + part.sum(axis=1) @ around / total, y + part.sum(axis=2) @ around / total


def _pick(frames: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Pixels of each frame (n, y, x) at rows and columns (n, ...), and which of them lie in it."""
    count, height, width = frames.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = np.arange(count)[:, None, None]
    return frames[places, rows.clip(0, height - 1), columns.clip(0, width - 1)], inside


@lru_cache(maxsize=64)
def _make_rings(side: int) -> tuple[Array, Array, Array]:
    """Radii of the rings in a frame of that shorter side, and columns and rows of their points."""
    radii = np.geomspace(1.0, max(2.0, OUTERMOST * side), NUM_RINGS)
    return radii, radii[:, None] * _COS, radii[:, None] * _SIN


def _measure_radii(smooth: Array, x: Array, y: Array) -> dict[int, float]:
    """Petrosian radius by the number of the frame, of those in which a source stands out."""
    radii, columns, rows = _make_rings(min(smooth.shape[1:]))
    values, inside = _pick(
        smooth,
        np.rint(y[:, None, None] + rows).astype(np.intp),
        np.rint(x[:, None, None] + columns).astype(np.intp),
    )
    half = NUM_ANGLES // 2
    one, other = values[:, :, :half], values[:, :, half:]
    pairs = inside[:, :, :half] & inside[:, :, half:]
    count = pairs.sum(axis=2)
    order = np.argsort(count < MIN_PAIRS, axis=1, kind="stable")  # rings that are used come first
    used = (count >= MIN_PAIRS).sum(axis=1)
    profile = (np.minimum(one, other) * pairs).sum(axis=2) / np.maximum(count, 1)
    radii, profile = radii[order], np.take_along_axis(profile, order, axis=1)
    differences, counted = (part.reshape(len(smooth), -1) for part in (np.abs(one - other), pairs))
    noise = 1.4826 / math.sqrt(2) * _find_medians(differences, counted)
    rank = used[:, None] - np.arange(NUM_RINGS)
    contrast = profile[:, 0] - _find_medians(profile, (rank > 0) & (rank <= NUM_RINGS // 3))
    clear = contrast >= np.maximum(MIN_CONTRAST, SIGNIFICANCE * noise)
    found = np.flatnonzero(clear & (used >= NUM_RINGS // 2))
    return dict(
        zip(found.tolist(), _find_radii(radii[found], profile[found], used[found]), strict=True)
    )


def _find_radii(radii: Array, profile: Array, used: Array) -> list[float]:
    """Where the brightness of the rings, (n, ring), falls to `PETROSIAN_RATIO` of its mean within.

    Where that is beyond the last ring that is used: a little more than that one.
    """
    valid = np.arange(NUM_RINGS) < used[:, None]
    profile = profile - np.where(valid, profile, np.inf).min(axis=1, keepdims=True)
    area = np.diff(radii**2, axis=1, prepend=0.0)
    between = (profile + np.concatenate([profile[:, :1], profile[:, :-1]], axis=1)) / 2
    mean_within = np.cumsum(between * area, axis=1) / np.cumsum(area, axis=1)
    ratio = profile / np.maximum(mean_within, 1e-9)
    below = valid & (ratio < PETROSIAN_RATIO)
    radius = radii[np.arange(len(used)), used - 1] * 1.15
    n = np.flatnonzero(below.any(axis=1))
    last = below[n].argmax(axis=1)  # never the first: there the mean within is the brightness
    step = (ratio[n, last - 1] - PETROSIAN_RATIO) / (ratio[n, last - 1] - ratio[n, last])
    radius[n] = radii[n, last - 1] * (radii[n, last] / radii[n, last - 1]) ** step
    return list(map(float, radius))


def _find_medians(values: Array, counted: Array) -> Array:
    """Of those values of each row, (n, value), that are counted."""
    ranked = np.sort(np.where(counted, values, np.inf), axis=1)
    rows, count = np.arange(len(values)), counted.sum(axis=1)
    return np.asarray((ranked[rows, (count - 1) // 2] + ranked[rows, count // 2]) / 2)
