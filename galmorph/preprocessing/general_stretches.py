"""Stretches for any unit, whose limits come from the pixels themselves.

"lupton" is Lupton et al. 2004 as `astropy.visualization` has it, with black and softening from the
sky noise and each band divided by its own contrast; the others are `astropy.visualization`.
"""

from collections.abc import Sequence

import numpy as np

from galmorph.images.cutout import Array
from galmorph.preprocessing.stretch import Curve, Stretch
from galmorph.preprocessing.survey_stretches import cut_negative, divide_arcsinh, keep_colour

LUPTON_SOFTENING = 8.0
LUPTON_LINEAR_PART = 0.1
LUPTON_STRETCH_SIGMAS = 16.0
LUPTON_BLACK_SIGMAS = 1.0
NORMAL_5, NORMAL_25 = -1.6449, -0.6745  # percentiles of the normal distribution, in sigmas
BRIGHT_PERCENTILE = 99.5
LEAST_NOISE = 1e-5  # of the range of the image, where it has no noise of its own
ASINH_SOFTENING = 0.1
ASINH_PERCENTILES = (1.0, 99.8)
MIDDLE_PERCENTILES = (0.25, 99.75)

ZSCALE_SAMPLE, ZSCALE_CONTRAST, ZSCALE_REJECTION = 1000, 0.25, 2.5
TAIL_SAMPLE, TAIL_SIGMAS = 1024, 4  # pixels by which the place of a percentile is guessed
SAMPLE_PIXELS = 16384  # enough for percentiles of the sky, to 1 % of its noise


def fit_lupton(channels: Sequence[Array]) -> Curve:
    """Lupton et al. 2004, with black and softening by the sky noise of the mean of the channels.

    Each is divided by its own contrast: the sources of an image are grey on average.
    """
    step = max(1, int((channels[0].size / SAMPLE_PIXELS) ** 0.5))
    thin = np.stack([plane[::step, ::step] for plane in channels])
    skies = [measure_sky(plane) for plane in thin]
    bright = [find_percentiles(plane, [BRIGHT_PERCENTILE])[0] for plane in thin]
    black = np.array([sky for sky, _ in skies], dtype=np.float32)[:, None, None]
    contrast = [max(b - sky, 3 * noise) for b, (sky, noise) in zip(bright, skies, strict=True)]
    gain = np.array([1 / c for c in contrast], dtype=np.float32)[:, None, None]
    sky, noise = measure_sky(((thin - black) * gain).mean(axis=0))
    floor = np.float32(sky - LUPTON_BLACK_SIGMAS * noise)

    def curve(seen: Array) -> Array:
        seen -= black
        seen *= gain
        seen -= floor
        return make_lupton(seen, LUPTON_STRETCH_SIGMAS * noise, LUPTON_SOFTENING)

    return curve


def measure_sky(plane: Array) -> tuple[float, float]:
    """Level and noise of the sky from the faint quarter of an image.

    Mean and standard deviation of the normal distribution that has the same percentiles 5 and 25,
    which a galaxy that covers half of the frame hardly moves. The noise is never 0.
    """
    low, quarter = find_percentiles(plane, (5, 25))
    noise = (quarter - low) / (NORMAL_25 - NORMAL_5)
    least = LEAST_NOISE * (float(plane.max()) - float(plane.min()))
    return quarter - NORMAL_25 * noise, max(noise, least) or 1.0


def make_lupton(channels: Array, stretch: float, softening: float) -> Array:
    """Lupton curve of channels (3, y, x) above black, that of astropy's `LuptonAsinhStretch`.

    Stretch and softening are the linear stretch and Q; saturated pixels keep their colour. The
    array is changed.
    """
    cut_negative(channels)
    factor = softening / stretch
    slope = LUPTON_LINEAR_PART / np.arcsinh(LUPTON_LINEAR_PART * softening)
    intensity = np.add.reduce(channels)
    intensity *= np.float32(factor / len(channels))
    channels *= divide_arcsinh(intensity, slope * factor)
    return keep_colour(channels)


def fit_asinh(channels: Sequence[Array]) -> Curve:
    """Asinh between two percentiles of each channel."""
    softening = np.float32(ASINH_SOFTENING)
    top = np.arcsinh(1 / softening)
    scale = _scale_between([find_percentiles(plane, ASINH_PERCENTILES) for plane in channels])

    def curve(seen: Array) -> Array:
        stretched = scale(seen)
        stretched /= softening
        np.arcsinh(stretched, out=stretched)
        stretched /= top
        return stretched

    return curve


def fit_zscale(channels: Sequence[Array]) -> Curve:
    """Linear between the limits of IRAF's zscale, for each channel."""
    return _scale_between([find_zscale(plane) for plane in channels])


def find_zscale(plane: Array) -> tuple[float, float]:
    """Limits as astropy's `ZScaleInterval` finds them, whose way of fitting takes most of a run.

    A line is fitted to the sorted sample, pixels far from it are left out with their neighbours,
    and so on; its slope over the contrast gives the limits about the median.
    """
    sample = np.sort(plane.ravel()[:: max(1, plane.size // ZSCALE_SAMPLE)][:ZSCALE_SAMPLE])
    count = len(sample)
    values, x = sample.astype(np.float64), np.arange(count, dtype=np.float64)
    least, grown = max(5, count // 2), np.ones(max(1, count // 100))
    good, before, slope = np.ones(count), count + 1, 0.0
    for _ in range(5):
        left = int(np.count_nonzero(good))
        if left >= before or left < least:
            break
        before = left
        away, over = x - x @ good / left, values - values @ good / left
        kept = away * good
        slope = float(kept @ over / max(float(kept @ away), 1.0))
        over -= slope * away
        spread = (good @ (over * over) / left) ** 0.5
        far = (good == 0) | (np.abs(over) > ZSCALE_REJECTION * spread)
        good = (np.convolve(far, grown, mode="same") < 0.5).astype(np.float64)
    low, high = float(values[0]), float(values[-1])
    if np.count_nonzero(good) < least:
        return low, high
    center, step = (count - 1) // 2, slope / ZSCALE_CONTRAST
    median = float(values[center] + values[count // 2]) / 2
    return max(low, median - (center - 1) * step), min(high, median + (count - center) * step)


def fit_percentile(channels: Sequence[Array]) -> Curve:
    """Linear between the limits that hold the middle 99.5 % of each channel."""
    return _scale_between([find_percentiles(plane, MIDDLE_PERCENTILES) for plane in channels])


def find_percentiles(plane: Array, percentiles: Sequence[float]) -> list[float]:
    """As numpy's; pixels are sorted only near each of them, where a sample says that it is."""
    flat = plane.ravel()
    step = flat.size // TAIL_SAMPLE | 1  # odd: not the same columns in every row
    sample = np.sort(flat[::step])
    return [_find_percentile(flat, sample, percentile) for percentile in percentiles]


def _find_percentile(flat: Array, sample: Array, percentile: float) -> float:
    place = (flat.size - 1) * percentile / 100
    first, near = int(place), place / flat.size * len(sample)
    reach = 2 + TAIL_SIGMAS * (near * (1 - place / flat.size)) ** 0.5
    low, high = near - reach, near + reach
    least = sample[int(low)] if low >= 0 else -np.inf
    most = sample[int(high) + 1] if high + 1 < len(sample) else np.inf
    part = np.sort(flat[(flat >= least) & (flat <= most)])
    first -= int(np.count_nonzero(flat < least))
    if not 0 <= first < len(part) - 1:  # the sample was wrong, or this is the last pixel
        part, first = np.sort(flat), int(place)
    one, other = float(part[first]), float(part[min(first + 1, len(part) - 1)])
    return one + (other - one) * (place - int(place))


def _scale_between(limits: Sequence[Sequence[float]]) -> Curve:
    """Each channel to [0, 1] between its limits; 0 where it has none."""
    low = np.array([low for low, _ in limits], dtype=np.float32)[:, None, None]
    spans = [float(high) - float(low) for low, high in limits]
    gain = np.array([span if span > 0 else np.inf for span in spans], dtype=np.float32)

    def curve(seen: Array) -> Array:
        seen -= low
        seen /= gain[:, None, None]
        return np.clip(seen, 0, 1, out=seen)

    return curve


LUPTON = Stretch("lupton", fit=fit_lupton)
ASINH = Stretch("asinh", fit=fit_asinh)
ZSCALE = Stretch("zscale", fit=fit_zscale)
PERCENTILE = Stretch("percentile", fit=fit_percentile)
