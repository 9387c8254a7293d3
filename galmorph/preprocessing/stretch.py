"""What a stretch is: from linear flux to colours on [0, 1]; and which one a cutout gets."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

from galmorph.errors import BandError
from galmorph.images.bands import sort_by_wavelength
from galmorph.images.cutout import Array, Cutout
from galmorph.settings import STRETCHES

Curve = Callable[[Array], Array]
"""(n, y, x) float32, scaled and in the order red, green, blue, to the same on [0, 1]; its input may
be changed."""

BLOCK_PIXELS = 1 << 16
"""Pixels that a curve takes at a time: few steps in Python, and temporary arrays in the cache."""

SURVEY_STRETCHES = ("legacysurvey", "sdss")  # by the names of the surveys
GENERAL_STRETCH = "lupton"
NANOMAGGY_UNITS = ("nanomaggy", "")


@dataclass(frozen=True)
class Stretch:
    """A named recipe: either a curve by the point, or one that is fitted to the pixels.

    The curve is of fluxes in nanomaggies times `scales`, of three bands, or as many as there are.
    What `fit` gives is the curve for an image, from all pixels of its bands, of any unit.
    """

    name: str
    curve: Curve | None = None
    fit: Callable[[Sequence[Array]], Curve] | None = None
    band_sets: tuple[tuple[str, ...], ...] = ()  # from blue to red, preferred ones first; (): any
    scales: Mapping[tuple[str, ...], Mapping[str, float]] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """Whether the flux must be in nanomaggies."""
        return self.curve is not None

    def choose_bands(self, bands: tuple[str, ...], *, in_order: bool = False) -> tuple[str, ...]:
        """Bands to use out of those of a cutout, from blue to red, as they may stand already."""
        for wanted in self.band_sets:
            if set(wanted) <= set(bands):
                return wanted
        known = {band for wanted in self.band_sets for band in wanted}
        if len(bands) == 1:
            return bands
        if not self.band_sets or (len(bands) == 2 and known.issuperset(bands)):
            order = range(len(bands)) if in_order else sort_by_wavelength(bands)
            ordered = tuple(bands[n] for n in order)
            if len(ordered) > 3:  # the bluest, the middle one and the reddest
                return ordered[0], ordered[len(ordered) // 2], ordered[-1]
            return ordered
        raise BandError(
            f"the stretch {self.name!r} is for {' or '.join('+'.join(s) for s in self.band_sets)}, "
            f"not {', '.join(bands)}; choose one of lupton, asinh, zscale, percentile"
        )

    def render(self, planes: Mapping[str, Array], seen: tuple[slice, slice] | None = None) -> Array:
        """Colours (3, y, x), red, green, blue on [0, 1], of the fluxes (y, x) of one to four bands.

        Bands are as `choose_bands` gives them. One becomes grey in all three channels; of two, the
        bluer becomes blue, the redder red, and their mean green (of the fluxes where these are
        calibrated, else of the finished channels). Limits come from all pixels, also where only
        some rows and columns are ``seen``.
        """
        bands = tuple(planes)
        parts = planes if seen is None else {band: plane[seen] for band, plane in planes.items()}
        whole = [planes[band] for band in reversed(bands)]
        curve = self.curve if self.fit is None else self.fit(whole)
        assert curve is not None
        height, width = parts[bands[0]].shape
        step = max(1, BLOCK_PIXELS // width)
        if height <= step:
            return self._render_block(parts, curve)
        colours = np.empty((3, height, width), dtype=np.float32)
        for start in range(0, height, step):
            rows = slice(start, start + step)
            colours[:, rows] = self._render_block({b: p[rows] for b, p in parts.items()}, curve)
        return colours

    def _render_block(self, planes: Mapping[str, Array], curve: Curve) -> Array:
        bands = tuple(planes)
        if not self.calibrated:
            return _to_channels(curve(np.stack([planes[band] for band in reversed(bands)])))
        scaled = np.empty((len(bands), *planes[bands[0]].shape), dtype=np.float32)
        for n, band in enumerate(bands):
            # from blue to red as red, green, blue
            np.multiply(planes[band], np.float32(self._scale(band, bands)), out=scaled[-1 - n])
        return curve(scaled if len(bands) == 4 else _to_channels(scaled))

    def _scale(self, band: str, bands: tuple[str, ...]) -> float:
        for wanted, scales in self.scales.items():
            if set(bands) <= set(wanted):
                return scales[band]
        # one band that the recipe does not know: taken for the middle one
        wanted, scales = next(iter(self.scales.items()))
        return scales[wanted[1]]


def _to_channels(scaled: Array) -> Array:
    """Make one or two planes (red first) three."""
    if len(scaled) == 1:
        return np.repeat(scaled, 3, axis=0)
    if len(scaled) == 2:
        red, blue = scaled
        return np.stack([red, (blue + red) / 2, blue])
    return scaled


def get_stretch(name: str) -> Stretch:
    """A stretch by its name in `galmorph.settings.STRETCHES`."""
    module = import_module(f"galmorph.preprocessing.{STRETCHES[name]}")
    stretch: Stretch = getattr(module, name.upper())
    return stretch


def choose_stretch(cutout: Cutout, *, calibrated: bool = False) -> tuple[str, bool]:
    """The recipe of a flux cutout by its header, and whether it is an assumption.

    That of the survey that the header names, where the flux is in nanomaggies, or ``calibrated``,
    and has the bands for it; everything else by "lupton", whose scales come from the noise of the
    pixels, and that is an assumption.
    """
    name = cutout.survey
    if name in SURVEY_STRETCHES and (calibrated or cutout.unit in NANOMAGGY_UNITS):
        with suppress(BandError):
            get_stretch(name).choose_bands(cutout.bands)
            return name, False
    return GENERAL_STRETCH, True
