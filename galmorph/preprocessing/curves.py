"""Curves from scaled flux to [0, 1]; the recipes that use them are in `stretch`.

Every curve takes (3, y, x) float32 in the order red, green, blue, already multiplied by the scale
of each band, and may change it; those for bands of any unit also take two planes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "curve_asinh",
    "curve_gzdecals",
    "curve_legacy_griz",
    "curve_legacysurvey",
    "curve_lupton",
    "curve_percentile",
    "curve_sdss",
    "curve_zscale",
    "iter_blocks",
    "make_lupton",
    "measure_sky",
]

Array = npt.NDArray[Any]

GZDECALS_BLACK, GZDECALS_WHITE = -0.5, 300.0
GZDECALS_DESATURATION = 2.5

LEGACY_OFFSET, LEGACY_SOFTENING = 0.03, 20.0

SDSS_NONLINEARITY = 2.25

LUPTON_SOFTENING = 8.0
LUPTON_LINEAR_PART = 0.1
LUPTON_STRETCH_SIGMAS = 16.0
LUPTON_BLACK_SIGMAS = 1.0
NORMAL_5, NORMAL_25 = -1.6449, -0.6745  # percentiles of the normal distribution, in sigmas
BRIGHT_PERCENTILE = 99.5
LEAST_NOISE = 1e-5  # of the range of the image, where it has no noise of its own
ASINH_SOFTENING = 0.1
ASINH_PERCENTILES = (1.0, 99.8)
PERCENTILE_INTERVAL = 99.5

BLOCK_PIXELS = 8192
"""Pixels that a curve takes at a time: its temporary arrays stay in the cache."""

SAMPLE_PIXELS = 16384
"""Pixels that are enough for percentiles of the sky: to 1 % of its noise."""

TINY = np.float32(1e-6)


def curve_gzdecals(channels: Array) -> Array:
    """Asinh of each channel between two limits, then speckle is desaturated."""
    black = np.arcsinh(GZDECALS_BLACK)
    white = np.arcsinh(GZDECALS_WHITE)
    np.arcsinh(channels, out=channels)
    channels -= np.float32(black)
    channels /= np.float32(white - black)
    return np.clip(_desaturate(channels), 0, 1, out=channels)


def _desaturate(channels: Array) -> Array:
    """Turn single-band speckle grey: strong where one channel stands far above the mean."""
    mean = channels.mean(axis=0)
    divisor = np.where(mean == 0, np.float32(1), mean)
    with np.errstate(over="ignore"):
        colour = np.max(channels / divisor, axis=0) / np.float32(GZDECALS_DESATURATION)
    keep = np.sin(np.float32(np.pi / 2) * (1 - np.minimum(colour, 1)))
    lose = 1 - keep
    channels *= keep + divisor * lose * lose
    channels += divisor * lose
    return channels


def curve_legacysurvey(channels: Array) -> Array:
    """Asinh of the mean intensity of the bands; the sky keeps the grey of the offset."""
    channels += np.float32(LEGACY_OFFSET)
    intensity = np.maximum(channels, 0).mean(axis=0)
    intensity[intensity == 0] = TINY
    q = np.float32(LEGACY_SOFTENING)
    channels *= np.arcsinh(q * intensity) / (np.sqrt(q) * intensity)
    return np.clip(channels, 0, 1, out=channels)


def curve_legacy_griz(scaled: Array) -> Array:
    """The same of four bands g, r, i, z, which are then mixed into three channels."""
    g, r, i, z = curve_legacysurvey(scaled)
    red, green, blue = 0.25 * i + 0.75 * z, 0.5 * r + 0.5 * i, 0.75 * g + 0.25 * r
    return np.stack([red, green, blue])


def curve_sdss(channels: Array) -> Array:
    """Asinh of the sum of the bands, saturating to the colour of the object."""
    np.maximum(channels, 0, out=channels)
    total = channels.sum(axis=0) * np.float32(SDSS_NONLINEARITY)
    total[total == 0] = TINY
    channels *= np.arcsinh(total) / total
    return _keep_colour(channels)


def _keep_colour(channels: Array) -> Array:
    """Bring saturated pixels to a maximum of 1 without changing their colour."""
    channels /= np.maximum(channels.max(axis=0), 1)
    return np.clip(channels, 0, 1, out=channels)


def curve_lupton(channels: Array) -> Array:
    """Lupton et al. 2004 for bands of any unit, as far as the noise allows to see.

    Each channel is divided by its own contrast, so that the sources of an image are grey on
    average and only their colour differences remain; black and softening go with the sky noise of
    the mean of the channels.
    """
    thin = _thin_out(channels)
    skies = [measure_sky(plane) for plane in thin]
    bright = np.percentile(thin, BRIGHT_PERCENTILE, axis=(1, 2))
    black = np.array([sky for sky, _ in skies], dtype=np.float32)[:, None, None]
    contrast = [max(b - sky, 3 * noise) for b, (sky, noise) in zip(bright, skies, strict=True)]
    gain = np.array([1 / c for c in contrast], dtype=np.float32)[:, None, None]
    sky, noise = measure_sky(((thin - black) * gain).mean(axis=0))
    floor = np.float32(sky - LUPTON_BLACK_SIGMAS * noise)
    for rows in iter_blocks(channels.shape):
        block = (channels[:, rows] - black) * gain - floor
        channels[:, rows] = make_lupton(block, LUPTON_STRETCH_SIGMAS * noise, LUPTON_SOFTENING)
    return channels


def iter_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of rows of about `BLOCK_PIXELS` pixels each."""
    step = max(1, BLOCK_PIXELS // shape[-1])
    for start in range(0, shape[-2], step):
        yield slice(start, start + step)


def _thin_out(channels: Array) -> Array:
    """Every n-th row and column, as many as percentiles need."""
    step = max(1, int((channels[0].size / SAMPLE_PIXELS) ** 0.5))
    return np.ascontiguousarray(channels[:, ::step, ::step])


def measure_sky(plane: Array) -> tuple[float, float]:
    """Level and noise of the sky from the faint quarter of an image.

    Parameters
    ----------
    plane : ndarray, shape (y, x)
        Flux in any unit.

    Returns
    -------
    sky, noise : float
        Mean and standard deviation of the normal distribution that has the same percentiles 5 and
        25, which a galaxy that covers half of the frame hardly moves. The noise is never 0: an
        image without noise gets a 100,000th part of its range.
    """
    low, quarter = (float(q) for q in np.percentile(plane, (5, 25)))
    noise = (quarter - low) / (NORMAL_25 - NORMAL_5)
    least = LEAST_NOISE * (float(plane.max()) - float(plane.min()))
    return quarter - NORMAL_25 * noise, max(noise, least) or 1.0


def make_lupton(channels: Array, stretch: float, softening: float) -> Array:
    """Lupton curve, the one of `astropy.visualization.LuptonAsinhStretch`, on float32.

    Parameters
    ----------
    channels : ndarray, shape (3, y, x)
        Red, green, blue above the black level.
    stretch, softening : float
        Linear stretch and Q, in astropy's words.

    Returns
    -------
    ndarray, shape (3, y, x)
        On [0, 1]; saturated pixels keep their colour.
    """
    channels = np.maximum(channels, 0)
    intensity = channels.mean(axis=0)
    intensity[intensity == 0] = TINY
    slope = LUPTON_LINEAR_PART / np.arcsinh(LUPTON_LINEAR_PART * softening)
    curve = np.float32(slope) * np.arcsinh(intensity * np.float32(softening / stretch))
    channels *= curve / intensity
    return _keep_colour(channels)


def curve_asinh(channels: Array) -> Array:
    """Asinh between two percentiles of each channel."""
    from astropy.visualization import AsinhStretch, AsymmetricPercentileInterval

    interval = AsymmetricPercentileInterval(*ASINH_PERCENTILES)
    curve = AsinhStretch(ASINH_SOFTENING)
    return _per_channel(channels, lambda plane: curve(_to_unit(plane, interval), clip=False))


def curve_zscale(channels: Array) -> Array:
    """Linear between the limits of IRAF's zscale, for each channel."""
    from astropy.visualization import ZScaleInterval

    interval = ZScaleInterval()
    return _per_channel(channels, lambda plane: _to_unit(plane, interval))


def curve_percentile(channels: Array) -> Array:
    """Linear between the limits that hold the middle 99.5 % of each channel."""
    from astropy.visualization import PercentileInterval

    interval = PercentileInterval(PERCENTILE_INTERVAL)
    return _per_channel(channels, lambda plane: _to_unit(plane, interval))


def _per_channel(channels: Array, curve: Callable[[Array], Array]) -> Array:
    if np.array_equal(channels[0], channels[-1]):  # grey: once is enough
        grey = np.asarray(curve(channels[0]), dtype=np.float32)
        return np.repeat(grey[None], len(channels), axis=0)
    return np.stack([np.asarray(curve(plane), dtype=np.float32) for plane in channels])


def _to_unit(plane: Array, interval: Any) -> Array:
    low, high = (float(limit) for limit in interval.get_limits(plane))
    if not high > low:
        return np.zeros_like(plane)
    unit = (plane - np.float32(low)) / np.float32(high - low)
    return np.clip(unit, 0, 1, out=unit)
