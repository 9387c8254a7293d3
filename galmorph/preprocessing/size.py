"""Size and place of the central galaxy, from its point-symmetric profile in circular apertures.

Galaxy Zoo 2 scaled its cutouts by the Petrosian radius (Petrosian 1976, ApJ 210, L53; in circular
apertures, as SDSS has it: Strauss et al. 2002, AJ 124, 1810), so the same kind of radius is
measured here, on the rendered image. Two things make it robust: a ring counts the fainter of every
two opposite points, which removes neighbours and keeps the galaxy; and the radius is a ratio of
surface brightnesses, which a frame that cuts the galaxy off changes little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["GalaxySize", "measure_size"]

Array = npt.NDArray[Any]

WORKING_SIDE = 106
"""Frames are averaged down to about this many pixels before the measurement."""

PETROSIAN_RATIO = 0.3
"""The radius lies where the surface brightness is this fraction of its mean within. SDSS takes 0.2;
the higher value is reached within frames that are smaller than the galaxy."""

NUM_RINGS = 24
NUM_ANGLES = 48
OUTERMOST = 0.6
"""Radius of the last ring, as a fraction of the shorter side: into the corners."""

MIN_PAIRS = 6
"""Opposite points inside the frame that a ring needs."""

CENTRAL_SIGMA = 0.06
"""The galaxy is the brightest source under a Gaussian of this width (fraction of the shorter side)
about the middle of the frame."""

MIN_CONTRAST = 0.02
"""Least surface brightness of a galaxy above the sky on [0, 1]: five steps of an 8-bit image."""

SIGNIFICANCE = 4.0
"""The same in standard deviations of the noise."""

WELL_RESOLVED = 6.0
"""Below this radius in averaged pixels the frame's central part is measured again, finer."""

MAX_UINT16_ROWS = 85
"""So many 8-bit values of three planes can be added in 16 bits."""

_ANGLES = np.arange(NUM_ANGLES) * (2 * math.pi / NUM_ANGLES)
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)


@dataclass(frozen=True, slots=True)
class GalaxySize:
    """What was measured, in pixels of the array.

    Attributes
    ----------
    radius : float
        Petrosian radius (ratio 0.3) of the rendered, that is stretched, image.
    x, y : float
        Centre, in pixel edges: the middle of the first pixel is (0.5, 0.5).
    """

    radius: float
    x: float
    y: float


def measure_size(array: Array) -> GalaxySize | None:
    """Measure the galaxy nearest to the middle of a frame.

    Parameters
    ----------
    array : ndarray, shape (3, y, x)
        Rendered: uint8 in [0, 255] or float32 in [0, 1].

    Returns
    -------
    GalaxySize or None
        None where nothing stands out near the middle.
    """
    factor = max(1, round(min(array.shape[1:]) / WORKING_SIDE))
    smooth = _smooth(_to_grey(array, factor))
    x, y = _find_center(smooth)
    rings = _measure_rings(smooth, x, y)
    if rings is None:
        return None
    radius = _find_petrosian_radius(*rings) * factor
    center = ((x + 0.5) * factor, (y + 0.5) * factor)
    if radius < WELL_RESOLVED * factor and factor > 1:
        return _measure_finer(array, radius, center)
    return GalaxySize(radius, *center)


def _measure_finer(array: Array, radius: float, center: tuple[float, float]) -> GalaxySize | None:
    """Measure a galaxy that is small in its frame again, in the part about it."""
    half = max(4 * radius, WORKING_SIDE / 2)
    height, width = array.shape[1:]
    x0, y0 = (max(0, math.floor(c - half)) for c in center)
    x1 = min(width, math.ceil(center[0] + half))
    y1 = min(height, math.ceil(center[1] + half))
    size = measure_size(array[:, y0:y1, x0:x1])
    return None if size is None else GalaxySize(size.radius, size.x + x0, size.y + y0)


def _to_grey(array: Array, factor: int) -> Array:
    """Mean of the planes on [0, 1], averaged over blocks of ``factor`` by ``factor`` pixels."""
    top = 255.0 if array.dtype == np.uint8 else 1.0
    weight = np.float32(1 / (top * len(array) * factor**2))
    interleaved = array.transpose(1, 2, 0)
    if interleaved.flags.c_contiguous:  # as rasters are read: one pass over memory
        pixels = interleaved.reshape(array.shape[1], -1)
        return _sum_blocks(pixels, factor, factor * len(array)) * weight
    narrow = np.uint16 if array.dtype == np.uint8 else np.float32
    return _sum_blocks(np.add.reduce(array, dtype=narrow), factor, factor) * weight


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
    """Mean of 3 by 3 pixels, the rim repeated."""
    height, width = grey.shape
    padded = np.empty((height + 2, width + 2), dtype=np.float32)
    padded[1:-1, 1:-1] = grey
    padded[0], padded[-1] = padded[1], padded[-2]
    padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]
    rows = padded[:-2] + padded[1:-1]
    rows += padded[2:]
    smooth: Array = rows[:, :-2] + rows[:, 1:-1]
    smooth += rows[:, 2:]
    smooth *= np.float32(1 / 9)
    return smooth


@lru_cache(maxsize=64)
def _make_weights(height: int, width: int) -> Array:
    """Gaussian about the middle of a frame."""
    sigma = CENTRAL_SIGMA * min(height, width)
    rows = np.exp(-0.5 * ((np.arange(height) - (height - 1) / 2) / sigma) ** 2)
    columns = np.exp(-0.5 * ((np.arange(width) - (width - 1) / 2) / sigma) ** 2)
    weights: Array = rows[:, None] * columns
    return weights


def _find_center(smooth: Array) -> tuple[float, float]:
    """Centroid of the peak nearest to the middle, in pixel centres."""
    height, width = smooth.shape
    weighted = (smooth - smooth.min()) * _make_weights(height, width)
    y, x = divmod(int(weighted.argmax()), width)
    reach = max(1, round(0.04 * min(height, width)))
    y0, x0 = max(0, y - reach), max(0, x - reach)
    part = smooth[y0 : y + reach + 1, x0 : x + reach + 1]
    part = part - part.min()
    total = float(part.sum())
    if total <= 0:
        return float(x), float(y)
    inner_y = float(part.sum(axis=1) @ np.arange(part.shape[0])) / total
    inner_x = float(part.sum(axis=0) @ np.arange(part.shape[1])) / total
    return x0 + inner_x, y0 + inner_y


@lru_cache(maxsize=64)
def _make_rings(side: int) -> tuple[Array, Array, Array]:
    """Radii of the rings in a frame of that shorter side, and columns and rows of their points."""
    radii = np.geomspace(1.0, max(2.0, OUTERMOST * side), NUM_RINGS)
    return radii, radii[:, None] * _COS, radii[:, None] * _SIN


def _measure_rings(smooth: Array, x: float, y: float) -> tuple[Array, Array] | None:
    """Radii and sky-subtracted surface brightness of rings; None where no source stands out."""
    height, width = smooth.shape
    radii, columns, rows = _make_rings(min(height, width))
    columns = np.rint(x + columns).astype(np.intp)
    rows = np.rint(y + rows).astype(np.intp)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    values = smooth[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    half = NUM_ANGLES // 2
    one, other = values[:, :half], values[:, half:]
    pairs = inside[:, :half] & inside[:, half:]
    count = pairs.sum(axis=1)
    used = count >= MIN_PAIRS
    if used.sum() < NUM_RINGS // 2:
        return None
    profile = (np.minimum(one, other) * pairs).sum(axis=1)[used] / count[used]
    noise = 1.4826 / math.sqrt(2) * float(np.median(np.abs(one - other)[pairs]))
    contrast = profile[0] - float(np.median(profile[-NUM_RINGS // 3 :]))
    if contrast < max(MIN_CONTRAST, SIGNIFICANCE * noise):
        return None
    return radii[used], profile - profile.min()


def _find_petrosian_radius(radii: Array, profile: Array) -> float:
    """Radius at which the brightness falls to `PETROSIAN_RATIO` of its mean within.

    Where that is beyond the last ring: a little more than the last ring.
    """
    area = np.diff(radii**2, prepend=0.0)
    between = (profile + np.concatenate([profile[:1], profile[:-1]])) / 2
    mean_within = np.cumsum(between * area) / np.cumsum(area)
    ratio = profile / np.maximum(mean_within, 1e-9)
    below = np.flatnonzero(ratio < PETROSIAN_RATIO)
    if len(below) == 0:
        return float(radii[-1]) * 1.15
    last = int(below[0])
    if last == 0:
        return float(radii[0])
    step = (ratio[last - 1] - PETROSIAN_RATIO) / (ratio[last - 1] - ratio[last])
    return float(radii[last - 1] * (radii[last] / radii[last - 1]) ** step)
