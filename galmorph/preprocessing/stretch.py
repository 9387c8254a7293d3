"""Named recipes from linear flux to colours on [0, 1].

Each is a plain function of planes in the order red, green, blue; constants are for nanomaggies per
pixel unless said otherwise. Sources:

gzdecals
    Galaxy Zoo DECaLS (Walmsley et al. 2022, MNRAS 509, 3966); constants of its image code in
    zooniverse/decals, after Dustin Lang's DR2 rendering.
legacysurvey
    The Legacy Surveys viewer and cutout service (legacysurvey/imagine, map/views.py: DR9 grz,
    DR10 gri and griz).
sdss
    Colour frames of SDSS-III (frame-irg-*.jpg, routine sdss_frame_jpg of its IDL package photoop).
    Formula: Lupton et al. 2004, PASP 116, 133, as SDSS's own code has it (sdss/idlutils,
    pro/rgbcolor/djs_rgb_make.pro): negative flux to 0, intensity the sum of the scaled bands,
    saturated pixels brought to a maximum of 1 in their own colour. Constants: bands i, r, g with
    scales 0.4 x (5, 6.5, 9) and nonlinearity 2.25. photoop itself is not public in a form that was
    found; all four stand in M. Blanton's IDL code for SDSS mosaics (blanton144/dimage,
    pro/google/patch_png.pro, 2007) and in the account of sdss_frame_jpg in dstndstn/tractor, the
    scales also in a port by E. Sheldon. Left out: the regrouping of pixels beyond 30 nanomaggies.
lupton
    Lupton et al. 2004 as `astropy.visualization` has it, with black and softening from the sky
    noise and each band divided by its own contrast; for any unit.
asinh, zscale, percentile
    `astropy.visualization`, with limits from the pixels themselves; for any unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import BandError
from galmorph.images.bands import sort_by_wavelength
from galmorph.images.cutout import Cutout
from galmorph.preprocessing.curves import (
    curve_asinh,
    curve_gzdecals,
    curve_legacy_griz,
    curve_legacysurvey,
    curve_lupton,
    curve_percentile,
    curve_sdss,
    curve_zscale,
    iter_blocks,
)

__all__ = ["STRETCHES", "Stretch", "choose_stretch", "get_stretch"]

Array = npt.NDArray[Any]

GZDECALS_SCALES = MappingProxyType({"g": 0.008, "r": 0.014, "z": 0.019})
LEGACY_GRZ_SCALES = MappingProxyType({"g": 6.0, "r": 3.4, "z": 2.2})
LEGACY_GRIZ_SCALES = MappingProxyType({"g": 9.0, "r": 5.1, "i": 4.5, "z": 3.3})
SDSS_SCALES = MappingProxyType({"g": 3.6, "r": 2.6, "i": 2.0})


@dataclass(frozen=True)
class Stretch:
    """A named recipe.

    Attributes
    ----------
    name : str
        As the user gives it.
    function : callable
        (3, y, x) float32 in the order red, green, blue to the same on [0, 1]. Given planes of
        flux, or of flux times `scales`.
    band_sets : tuple of tuple of str
        Bands from blue to red that it is made for, the preferred ones first; empty for any bands.
    scales : mapping
        Factor of each band ahead of the curve.
    calibrated : bool
        Whether the flux must be in nanomaggies.
    """

    name: str
    function: Callable[[Array], Array]
    band_sets: tuple[tuple[str, ...], ...] = ()
    scales: Mapping[tuple[str, ...], Mapping[str, float]] = field(default_factory=dict)
    calibrated: bool = False

    def choose_bands(self, bands: tuple[str, ...], *, in_order: bool = False) -> tuple[str, ...]:
        """Bands to use out of those of a cutout, from blue to red.

        Parameters
        ----------
        bands : tuple of str
        in_order : bool
            They are from blue to red as they stand, whatever their names.

        Raises
        ------
        BandError
            The recipe is for other bands; or it takes any, and their order is not known.
        """
        for wanted in self.band_sets:
            if set(wanted) <= set(bands):
                return wanted
        known = {band for wanted in self.band_sets for band in wanted}
        if len(bands) == 1:
            return bands
        if not self.band_sets or (len(bands) == 2 and known.issuperset(bands)):
            order = range(len(bands)) if in_order else sort_by_wavelength(bands)
            ordered = tuple(bands[n] for n in order)
            return ordered if len(ordered) <= 3 else _spread(ordered)
        raise BandError(
            f"the stretch {self.name!r} is for {' or '.join('+'.join(s) for s in self.band_sets)}, "
            f"not {', '.join(bands)}; choose one of lupton, asinh, zscale, percentile"
        )

    def render(self, planes: Mapping[str, Array]) -> Array:
        """Make colours of flux.

        Parameters
        ----------
        planes : mapping of str to ndarray, shape (y, x)
            One to four bands, as `choose_bands` gives them. One becomes grey in all three
            channels; of two, the bluer becomes blue, the redder red, and their mean green (of the
            fluxes where these are calibrated, else of the finished channels).

        Returns
        -------
        ndarray of float32, shape (3, y, x)
            Red, green, blue on [0, 1].
        """
        bands = tuple(planes)
        if not self.calibrated:
            return self._render_block(planes, bands)
        colours = np.empty((3, *planes[bands[0]].shape), dtype=np.float32)
        for rows in iter_blocks(colours.shape):
            block = {band: plane[rows] for band, plane in planes.items()}
            colours[:, rows] = self._render_block(block, bands)
        return colours

    def _render_block(self, planes: Mapping[str, Array], bands: tuple[str, ...]) -> Array:
        scaled = np.empty((len(bands), *planes[bands[0]].shape), dtype=np.float32)
        for n, band in enumerate(bands):
            # from blue to red as red, green, blue
            np.multiply(planes[band], np.float32(self._scale(band, bands)), out=scaled[-1 - n])
        if len(bands) == 4:
            return curve_legacy_griz(scaled[::-1])
        if len(bands) == 2 and not self.calibrated:  # fluxes of unknown units have no mean
            return _to_channels(self.function(scaled))
        return self.function(_to_channels(scaled))

    def _scale(self, band: str, bands: tuple[str, ...]) -> float:
        for wanted, scales in self.scales.items():
            if set(bands) <= set(wanted):
                return scales[band]
        if not self.scales:
            return 1.0
        # one band that the recipe does not know: taken for the middle one
        wanted, scales = next(iter(self.scales.items()))
        return scales[wanted[1]]


def _spread(ordered: tuple[str, ...]) -> tuple[str, ...]:
    """Bluest, middle and reddest of more than three bands."""
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


def _to_channels(scaled: Array) -> Array:
    """Make one or two planes (red first) three."""
    if len(scaled) == 1:
        return np.repeat(scaled, 3, axis=0)
    if len(scaled) == 2:
        red, blue = scaled
        return np.stack([red, (blue + red) / 2, blue])
    return scaled


_GRZ, _GRI, _GRIZ = ("g", "r", "z"), ("g", "r", "i"), ("g", "r", "i", "z")

STRETCHES: Mapping[str, Stretch] = MappingProxyType(
    {
        stretch.name: stretch
        for stretch in (
            Stretch(
                "gzdecals",
                curve_gzdecals,
                (_GRZ,),
                {_GRZ: {band: 1 / scale for band, scale in GZDECALS_SCALES.items()}},
                calibrated=True,
            ),
            Stretch(
                "legacysurvey",
                curve_legacysurvey,
                (_GRIZ, _GRZ, _GRI),
                {_GRZ: LEGACY_GRZ_SCALES, _GRIZ: LEGACY_GRIZ_SCALES},
                calibrated=True,
            ),
            Stretch("sdss", curve_sdss, (_GRI,), {_GRI: SDSS_SCALES}, calibrated=True),
            Stretch("lupton", curve_lupton),
            Stretch("asinh", curve_asinh),
            Stretch("zscale", curve_zscale),
            Stretch("percentile", curve_percentile),
        )
    }
)
"""The recipes by name."""

SURVEY_STRETCHES = MappingProxyType({"legacysurvey": "legacysurvey", "sdss": "sdss"})
GENERAL_STRETCH = "lupton"
NANOMAGGY_UNITS = ("nanomaggy", "")


def get_stretch(name: str) -> Stretch:
    """Find a recipe by name.

    Raises
    ------
    ValueError
        No such name; the message lists them.
    """
    try:
        return STRETCHES[name]
    except KeyError:
        known = ", ".join(STRETCHES)
        raise ValueError(f"no stretch {name!r}; there are auto, {known}") from None


def choose_stretch(cutout: Cutout, *, calibrated: bool = False) -> tuple[str, bool]:
    """Choose the recipe of a flux cutout by its header.

    The rule: a cutout whose header names a survey is rendered as that survey renders its own
    images ("legacysurvey" for DECaLS, BASS, MzLS; "sdss" for SDSS), as long as its flux is in
    nanomaggies and it has the bands for it; everything else by "lupton", whose scales come from
    the noise of the pixels, and that is flagged.

    Parameters
    ----------
    cutout : Cutout
        Kind "flux".
    calibrated : bool
        A zero point is known, so that any unit can be turned into nanomaggies.

    Returns
    -------
    name : str
        Of the recipe.
    assumed : bool
        Whether it is the general one, for want of a survey.
    """
    name = SURVEY_STRETCHES.get(cutout.survey)
    if name is None or not (calibrated or cutout.unit in NANOMAGGY_UNITS):
        return GENERAL_STRETCH, True
    try:
        get_stretch(name).choose_bands(cutout.bands)
    except BandError:
        return GENERAL_STRETCH, True
    return name, False
