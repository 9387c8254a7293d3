"""Flux to the colours that the weights know, in one step with the bad pixels."""

import math
from dataclasses import replace

import numpy as np

from galmorph.errors import UnsupportedImageError
from galmorph.flags import Flags
from galmorph.images.calibration import (
    NANOMAGGY_ZEROPOINT,
    calibration_from_cutout,
    is_magnitude,
    restore_counts,
)
from galmorph.images.cutout import RENDERED_BANDS, Array, Cutout
from galmorph.preprocessing.pixels import (
    FilledPlanes,
    fill_bad_pixels,
    find_bad_pixels,
    has_good_pixel,
    is_all_good,
)
from galmorph.preprocessing.stretch import Stretch, choose_stretch, get_stretch
from galmorph.settings import RenderOptions

Part = tuple[slice, slice]
ZERO_IS_UNOBSERVED = ("legacysurvey",)  # surveys whose images hold 0 where a band has no exposure
DEFAULT_OPTIONS = RenderOptions()


def render(
    cutout: Cutout,
    *,
    options: RenderOptions = DEFAULT_OPTIONS,
    within: Part | None = None,
    cut: bool = False,
) -> Cutout:
    """Bring a cutout to three colour channels, (3, y, x).

    Those of a rendered cutout without bad pixels are its own, else float32 on [0, 1]. Bad pixels
    are counted ``within`` some rows and columns, which alone are given where it is ``cut``; the
    limits of stretches that need any come from all pixels. A band without a good pixel is left
    out, unless bad pixels are refused. Notes say what was done.
    """
    seen = within if cut else None
    if cutout.kind == "rendered":
        if seen is not None:
            cutout, within = _cut(cutout, seen), None
        return _render_rendered(cutout, options, within)
    if options.zeropoint is not None:
        cutout = restore_counts(cutout)
    elif is_magnitude(cutout.unit):
        raise UnsupportedImageError(
            f"its pixels are magnitudes (unit {cutout.unit!r}), in which the sky is brightest; "
            "give the image in a unit of flux, or --zeropoint where BUNIT is wrong",
            cutout.path,
        )
    return _render_flux(cutout, options, within, seen)


def _render_flux(
    cutout: Cutout, options: RenderOptions, within: Part | None, seen: Part | None
) -> Cutout:
    given = cutout.bands
    zero_is_bad = cutout.survey in ZERO_IS_UNOBSERVED  # one that is 0 everywhere, in any file
    perfect = cutout.bad is None and is_all_good(cutout.array, zero_is_bad=zero_is_bad)
    if options.nan != "refuse" and not perfect:
        cutout = _take_bands(cutout, _list_observed(cutout))
    empty = [band for band in given if band not in cutout.bands]
    name, flags = options.stretch, Flags.NONE
    if name == "auto":
        calibrated = not math.isnan(_find_zeropoint(cutout, options))
        name, assumed = choose_stretch(cutout, calibrated=calibrated)
        flags = Flags.ASSUMED_STRETCH if assumed else Flags.NONE
    stretch = get_stretch(name)
    bands = stretch.choose_bands(cutout.bands, in_order="band_order" in cutout.notes)
    if seen is not None and stretch.curve is not None:
        part = _take_bands(_cut(cutout, seen), bands)
        # what is seen alone, where no pixel of it is to be filled from those around
        zero_is_bad = is_zero_bad(part)
        if perfect or find_bad_pixels(part.array, part.bad, zero_is_bad=zero_is_bad) is None:
            cutout, within, seen = part, None, None
    cutout = _take_bands(cutout, bands)
    unfilled = FilledPlanes(cutout.array, Flags.NONE, 0)
    filled = unfilled if perfect else _fill(cutout, options, within)
    planes, unit_note = _calibrate(filled.array, cutout, stretch, options)
    colours = stretch.render(dict(zip(bands, planes, strict=True)), seen)
    if len(bands) < 3:
        flags |= Flags.OUTSIDE_COLOUR_DOMAIN
    notes = {"stretch": name, "bands": ",".join(bands), **unit_note}
    if empty:
        notes["empty_bands"] = ",".join(empty)
    return _finish(cutout, colours, filled, flags, notes)


def _cut(cutout: Cutout, seen: Part) -> Cutout:
    bad = None if cutout.bad is None else cutout.bad[seen]
    return replace(cutout, array=cutout.array[:, *seen], bad=bad)


def _take_bands(cutout: Cutout, bands: tuple[str, ...]) -> Cutout:
    if bands == cutout.bands:
        return cutout
    return replace(cutout, array=cutout.array[[*map(cutout.bands.index, bands)]], bands=bands)


def is_zero_bad(cutout: Cutout) -> bool:
    """Whether exactly 0 means that a band was not observed there."""
    unobserved = cutout.kind == "flux" and cutout.survey in ZERO_IS_UNOBSERVED
    return unobserved and "zeros" not in cutout.notes


def _list_observed(cutout: Cutout) -> tuple[str, ...]:
    """Bands that were observed at all; all of them where none was."""
    zero_is_bad = cutout.survey in ZERO_IS_UNOBSERVED  # one that is 0 everywhere, in any file
    pairs = zip(cutout.bands, cutout.array, strict=True)
    kept = tuple(band for band, p in pairs if has_good_pixel(p, zero_is_bad=zero_is_bad))
    return kept or cutout.bands


def _render_rendered(cutout: Cutout, options: RenderOptions, within: Part | None) -> Cutout:
    if cutout.array.dtype == np.uint8 and cutout.bad is None:
        return cutout
    filled = _fill(cutout, options, within)
    array = filled.array if filled.array.dtype == np.uint8 else np.clip(filled.array, 0, 1)
    return _finish(cutout, array, filled, Flags.NONE, {"stretch": "as rendered"})


def _fill(cutout: Cutout, options: RenderOptions, within: Part | None) -> FilledPlanes:
    return fill_bad_pixels(
        cutout.array,
        cutout.bad,
        policy=options.nan,
        max_fraction=options.nan_fraction,
        zero_is_bad=is_zero_bad(cutout),
        within=within,
    )


def _finish(
    cutout: Cutout, array: Array, filled: FilledPlanes, flags: Flags, notes: dict[str, str]
) -> Cutout:
    if filled.bad_pixels:
        notes["bad_pixels"] = str(filled.bad_pixels)
    return replace(
        cutout,
        array=array,
        bands=RENDERED_BANDS,
        kind="rendered",
        flags=cutout.flags | filled.flags | flags,
        bad=None,
        notes={**cutout.notes, **notes},
    )


def _find_zeropoint(cutout: Cutout, options: RenderOptions) -> float:
    given = options.zeropoint
    return calibration_from_cutout(cutout).magnitude if given is None else given


def _calibrate(
    planes: Array, cutout: Cutout, stretch: Stretch, options: RenderOptions
) -> tuple[Array, dict[str, str]]:
    """Turn flux into nanomaggies where the stretch needs them."""
    if not stretch.calibrated:
        return planes, {}
    if cutout.unit == "nanomaggy" and options.zeropoint is None:
        return planes, {"unit": "nanomaggy"}
    zeropoint = _find_zeropoint(cutout, options)
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
