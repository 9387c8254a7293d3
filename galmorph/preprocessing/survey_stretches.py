"""Stretches by which surveys make their own colour images; constants are for nanomaggies per pixel.

gzdecals
    Galaxy Zoo DECaLS (Walmsley et al. 2022, MNRAS 509, 3966); constants of its image code in
    zooniverse/decals, after Dustin Lang's DR2 rendering.
legacysurvey
    The Legacy Surveys viewer and cutout service (legacysurvey/imagine, map/views.py: DR9 grz,
    DR10 gri and griz).
sdss
    Colour frames of SDSS-III (frame-irg-*.jpg): Lupton et al. 2004, PASP 116, 133, as SDSS's own
    code has it (sdss/idlutils, pro/rgbcolor/djs_rgb_make.pro), with scales 0.4 x (5, 6.5, 9) for
    i, r, g and nonlinearity 2.25. Where these come from: docs/notes/sdss_stretch.md.
"""

import numpy as np

from galmorph.images.cutout import Array
from galmorph.preprocessing.stretch import Stretch

GZDECALS_SCALES = {"g": 1 / 0.008, "r": 1 / 0.014, "z": 1 / 0.019}
GZDECALS_BLACK, GZDECALS_WHITE = -0.5, 300.0
GZDECALS_DESATURATION = 2.5

LEGACY_GRZ_SCALES = {"g": 6.0, "r": 3.4, "z": 2.2}
LEGACY_GRIZ_SCALES = {"g": 9.0, "r": 5.1, "i": 4.5, "z": 3.3}
LEGACY_OFFSET, LEGACY_SOFTENING = 0.03, 20.0

SDSS_SCALES = {"g": 3.6, "r": 2.6, "i": 2.0}
SDSS_NONLINEARITY = 2.25

TINY = np.float32(1e-6)
_GRZ, _GRI, _GRIZ = ("g", "r", "z"), ("g", "r", "i"), ("g", "r", "i", "z")


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
    mean = np.add.reduce(channels)
    mean /= np.float32(len(channels))
    mean[mean == 0] = 1
    colour = channels.max(axis=0)
    below = mean < 0
    colour[below] = channels.min(axis=0)[below]
    with np.errstate(over="ignore"):
        colour /= mean * np.float32(GZDECALS_DESATURATION)
    colour = 1 - np.clip(colour, -np.inf, 1, out=colour)
    colour *= np.float32(np.pi / 2)
    keep = np.sin(colour, out=colour)
    lose = 1 - keep
    grey = mean * lose
    lose *= grey
    lose += keep
    channels *= lose
    channels += grey
    return channels


def curve_legacysurvey(channels: Array) -> Array:
    """Asinh of the mean intensity; the sky keeps the grey of the offset; griz become three."""
    brightened = _brighten(channels)
    if len(channels) < 4:
        return brightened
    z, i, r, g = brightened
    red, green, blue = 0.25 * i + 0.75 * z, 0.5 * r + 0.5 * i, 0.75 * g + 0.25 * r
    return np.stack([red, green, blue])


def _brighten(channels: Array) -> Array:
    channels += np.float32(LEGACY_OFFSET)
    cut_negative(channels)
    intensity = np.add.reduce(channels)
    intensity *= np.float32(LEGACY_SOFTENING / len(channels))
    channels *= divide_arcsinh(intensity, LEGACY_SOFTENING**0.5)
    return np.clip(channels, 0, 1, out=channels)


def cut_negative(channels: Array) -> None:
    """Negative values to 0; `np.maximum` with a number is not vectorized."""
    np.clip(channels, 0, np.inf, out=channels)


def divide_arcsinh(x: Array, factor: float = 1.0) -> Array:
    """``factor arcsinh(x) / x``, for x from 0 on; the array is changed."""
    np.clip(x, TINY, np.inf, out=x)
    curve = np.arcsinh(x)
    curve /= x
    curve *= np.float32(factor)
    return curve


def curve_sdss(channels: Array) -> Array:
    """Asinh of the sum of the bands, saturating to the colour of the object."""
    cut_negative(channels)
    total = np.add.reduce(channels) * np.float32(SDSS_NONLINEARITY)
    channels *= divide_arcsinh(total)
    return keep_colour(channels)


def keep_colour(channels: Array) -> Array:
    """Bring saturated pixels to a maximum of 1 without changing their colour; from 0 on."""
    highest = channels.max(axis=0)
    if highest.max() > 1:
        channels /= np.clip(highest, 1, np.inf, out=highest)
    return channels


GZDECALS = Stretch("gzdecals", curve_gzdecals, band_sets=(_GRZ,), scales={_GRZ: GZDECALS_SCALES})
LEGACYSURVEY = Stretch(
    "legacysurvey",
    curve_legacysurvey,
    band_sets=(_GRIZ, _GRZ, _GRI),
    scales={_GRZ: LEGACY_GRZ_SCALES, _GRIZ: LEGACY_GRIZ_SCALES},
)
SDSS = Stretch("sdss", curve_sdss, band_sets=(_GRI,), scales={_GRI: SDSS_SCALES})
