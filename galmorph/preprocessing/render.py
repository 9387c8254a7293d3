"""Flux to the colours that the weights know, in one step with the bad pixels."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import UnsupportedImageError
from galmorph.flags import Flags
from galmorph.images.calibration import (
    NANOMAGGY_ZEROPOINT,
    calibration_from_cutout,
    is_magnitude,
    restore_counts,
)
from galmorph.images.cutout import Cutout
from galmorph.preprocessing.pixels import (
    FilledPlanes,
    fill_bad_pixels,
    find_bad_pixels,
    has_good_pixel,
)
from galmorph.preprocessing.stretch import Stretch, choose_stretch, get_stretch
from galmorph.settings import RenderOptions

Array = npt.NDArray[Any]
RENDERED = ("red", "green", "blue")
WHOLE = slice(None), slice(None)
ZERO_IS_UNOBSERVED = ("legacysurvey",)
"""Surveys whose images hold exactly 0 where a band has no exposure."""


DEFAULT_OPTIONS = RenderOptions()


def render(
    cutout: Cutout,
    *,
    options: RenderOptions = DEFAULT_OPTIONS,
    within: tuple[slice, slice] | None = None,
    cut: bool = False,
) -> Cutout:
    """Bring a cutout to three colour channels.

    Parameters
    ----------
    cutout : Cutout
        As read: limits of "asinh", "zscale", "percentile" and "lupton" come from all of it.
    options : RenderOptions
        Stretch and bad pixels.
    within : (slice, slice), optional
        Rows and columns that will be seen, of which bad pixels are counted.
    cut : bool
        Give these alone.

    Returns
    -------
    Cutout
        Kind "rendered", red, green, blue: the untouched uint8 array of a rendered cutout without
        bad pixels, else float32 on [0, 1]. A band without any good pixel is left out, unless bad
        pixels are refused. Its notes say what was done ("stretch", "bands", "empty_bands",
        "bad_pixels").

    Raises
    ------
    PixelError
        Bad pixels that are to be refused, or no good pixel in any band.
    BandError
        The stretch is for other bands, or it takes any and the order of these is not known.
    UnsupportedImageError
        The stretch needs nanomaggies and the unit cannot be turned into them; or the pixels are
        magnitudes.
    """
    if cutout.kind == "rendered":
        if cut and within is not None:
            cutout, within = _cut(cutout, within), None
        return _render_rendered(cutout, options, within)
    if options.zeropoint is not None:
        cutout = restore_counts(cutout)
    elif is_magnitude(cutout.unit):
        raise UnsupportedImageError(
            f"its pixels are magnitudes (unit {cutout.unit!r}), in which the sky is brightest; "
            "give the image in a unit of flux, or --zeropoint where BUNIT is wrong",
            cutout.path,
        )
    return _render_flux(cutout, options, within, cut)


def _render_flux(
    cutout: Cutout, options: RenderOptions, within: tuple[slice, slice] | None, cut: bool
) -> Cutout:
    empty: list[str] = []
    if options.nan != "refuse":
        cutout, empty = _drop_empty_bands(cutout)
    name, flags = options.stretch, Flags.NONE
    if name == "auto":
        name, assumed = choose_stretch(
            cutout, calibrated=not math.isnan(_zeropoint(cutout, options))
        )
        flags = Flags.ASSUMED_STRETCH if assumed else Flags.NONE
    stretch = get_stretch(name)
    bands = stretch.choose_bands(cutout.bands, in_order="band_order" in cutout.notes)
    indices = [cutout.bands.index(band) for band in bands]
    if cut and within is not None and stretch.curve is not None:
        cutout, within = _cut_good(cutout, within, indices)
    filled = _fill(cutout, indices, options, within)
    planes, unit_note = _calibrate(filled.array, cutout, stretch, options)
    seen = within if cut and within is not None else WHOLE
    colours = stretch.render(dict(zip(bands, planes, strict=True)), seen)
    if len(bands) < 3:
        flags |= Flags.OUTSIDE_COLOUR_DOMAIN
    notes = {"stretch": name, "bands": ",".join(bands), **unit_note}
    if empty:
        notes["empty_bands"] = ",".join(empty)
    return _finish(cutout, colours, filled, flags, notes)


def _cut(cutout: Cutout, seen: tuple[slice, slice]) -> Cutout:
    bad = None if cutout.bad is None else cutout.bad[seen]
    return replace(cutout, array=cutout.array[:, *seen], bad=bad)


def _cut_good(
    cutout: Cutout, within: tuple[slice, slice], indices: list[int]
) -> tuple[Cutout, tuple[slice, slice] | None]:
    """What is seen alone, where no pixel of it is to be filled from those around."""
    part = _cut(cutout, within)
    bad = find_bad_pixels(part.array[indices], part.bad, zero_is_bad=is_zero_bad(cutout))
    return (part, None) if bad is None else (cutout, within)


def is_zero_bad(cutout: Cutout) -> bool:
    """Whether exactly 0 means that a band was not observed there."""
    unobserved = cutout.kind == "flux" and cutout.survey in ZERO_IS_UNOBSERVED
    return unobserved and "zeros" not in cutout.notes


def _drop_empty_bands(cutout: Cutout) -> tuple[Cutout, list[str]]:
    """Leave out bands that were not observed at all, as long as one is left."""
    zero_is_bad = cutout.survey in ZERO_IS_UNOBSERVED  # one that is 0 everywhere, in any file
    kept = [n for n, p in enumerate(cutout.array) if has_good_pixel(p, zero_is_bad=zero_is_bad)]
    if not kept or len(kept) == len(cutout.bands):
        return cutout, []
    empty = [band for n, band in enumerate(cutout.bands) if n not in kept]
    bands = tuple(cutout.bands[n] for n in kept)
    return replace(cutout, array=cutout.array[kept], bands=bands), empty


def _render_rendered(
    cutout: Cutout, options: RenderOptions, within: tuple[slice, slice] | None
) -> Cutout:
    if cutout.array.dtype == np.uint8 and cutout.bad is None:
        return cutout
    filled = _fill(cutout, None, options, within)
    array = filled.array
    if array.dtype != np.uint8:
        array = np.clip(array, 0, 1)
    return _finish(cutout, array, filled, Flags.NONE, {"stretch": "as rendered"})


def _fill(
    cutout: Cutout,
    indices: list[int] | None,
    options: RenderOptions,
    within: tuple[slice, slice] | None,
) -> FilledPlanes:
    array = cutout.array
    if indices is not None and indices != list(range(array.shape[0])):
        array = array[indices]
    return fill_bad_pixels(
        array,
        cutout.bad,
        policy=options.nan,
        max_fraction=options.nan_fraction,
        zero_is_bad=is_zero_bad(cutout),
        within=within,
    )


def _finish(
    cutout: Cutout,
    array: Array,
    filled: FilledPlanes,
    flags: Flags,
    notes: dict[str, str],
) -> Cutout:
    if filled.bad_pixels:
        notes["bad_pixels"] = str(filled.bad_pixels)
    return replace(
        cutout,
        array=array,
        bands=RENDERED,
        kind="rendered",
        flags=cutout.flags | filled.flags | flags,
        bad=None,
        notes={**cutout.notes, **notes},
    )


def _zeropoint(cutout: Cutout, options: RenderOptions) -> float:
    if options.zeropoint is not None:
        return options.zeropoint
    return calibration_from_cutout(cutout).magnitude


def _calibrate(
    planes: Array, cutout: Cutout, stretch: Stretch, options: RenderOptions
) -> tuple[Array, dict[str, str]]:
    """Turn flux into nanomaggies where the stretch needs them."""
    if not stretch.calibrated:
        return planes, {}
    zeropoint = _zeropoint(cutout, options)
    given = options.zeropoint is not None
    if cutout.unit == "nanomaggy" and not given:
        return planes, {"unit": "nanomaggy"}
    if not math.isnan(zeropoint):
        factor = 10 ** ((NANOMAGGY_ZEROPOINT - zeropoint) / 2.5)
        return planes * np.float32(factor), {"unit": f"zero point {zeropoint:g}"}
    if cutout.unit == "":
        return planes, {"unit": "assumed nanomaggy"}
    raise UnsupportedImageError(
        f"the stretch {stretch.name!r} needs nanomaggies and the unit is {cutout.unit!r}; give "
        "the zero point (--zeropoint), or choose asinh, lupton, zscale or percentile",
        cutout.path or None,
    )
