"""FITS in all its variants to a cutout."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    BandError,
    GalmorphError,
    UnreadableImageError,
)
from galmorph.flags import Flags
from galmorph.images.bands import RENDERED_NAMES, choose_planes, find_band, find_band_names
from galmorph.images.calibration import Calibration, calibration_from_header, match_planes
from galmorph.images.cards import Cards
from galmorph.images.cutout import Cutout
from galmorph.images.fits_files import PixelsError, open_fits, reading_fits
from galmorph.images.fits_tiles import check_shape, check_tiles
from galmorph.images.grids import bring_to_one_grid
from galmorph.images.hdus import HduChoice, choose_hdus
from galmorph.images.planes import to_cutout_array
from galmorph.images.regions import find_region, find_size, read_pixels
from galmorph.images.sky import (
    SkyFrame,
    frame_from_header,
    load_sky,
)
from galmorph.images.source import Region
from galmorph.images.survey import ZEROPOINT_KEYS, find_survey, find_zeropoint
from galmorph.settings import ReadOptions

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

Array = npt.NDArray[Any]
SPECTRAL_AXES = frozenset(
    {"WAVE", "AWAV", "LAMB", "FREQ", "VELO", "VRAD", "VOPT", "FELO", "ZOPT", "ENER", "WAVN", "BETA"}
)
TIME_AXES = frozenset(
    {"TIME", "UTC", "TAI", "TT", "TDB", "TCB", "TCG", "UT1", "GPS", "MJD", "JD", "EPOCH"}
)
NO_DITHER = -1
"""As astropy.io.fits numbers the ways of quantizing."""


INHERITED_KEYS = (
    *("SURVEY", "BANDS", "FILTER", "BUNIT", "ORIGIN", "TELESCOP", "LEGPIPEV"),
    *ZEROPOINT_KEYS,
)
"""Cards that an extension takes from the primary header where it lacks them."""


def read_fits(file: str | bytes, options: ReadOptions) -> Cutout:
    """Read a FITS file, by its path (and mapped) or its bytes.

    The cutout is float32 flux with row 0 on top (FITS rows are flipped), or uint8 "rendered".
    """
    with reading_fits(file), open_fits(file) as hdus:
        return cutout_from_hdus(hdus, options)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be read of a file, whichever part of the sky."""

    choice: HduChoice
    headers: list[Cards]
    calibrations: list[Calibration]
    skies: list[tuple[Any, str]] = field(default_factory=list)  # of each HDU, once they are needed

    def load_skies(self, hdus: HDUList) -> list[tuple[Any, str]]:
        """WCS of each HDU, and a remark."""
        if not self.skies:
            self.skies.extend(load_sky(hdu.header, hdus) for hdu in self.choice.hdus)
        return self.skies


def choose_images(hdus: HDUList, options: ReadOptions) -> Chosen:
    """Find the HDUs that are wanted, with their cards."""
    choice = _take_wanted(choose_hdus(hdus, options.hdu), options)
    headers = [_find_cards(hdus, hdu) for hdu in choice.hdus]
    for header in headers:
        _check_scale(header)
    numbers = (next(n for n, other in enumerate(hdus) if other is hdu) for hdu in choice.hdus)
    names = [f"HDU {number}" for number in numbers]
    return Chosen(choice, headers, list(map(calibration_from_header, headers, names)))


def cutout_from_hdus(
    hdus: HDUList,
    options: ReadOptions,
    *,
    region: Region | None = None,
    chosen: Chosen | None = None,
    keep: bool = True,
) -> Cutout:
    """Read a cutout from an open HDU list; see `read_fits`. What has been chosen is taken as it is.

    Pixels that are not to be kept are forgotten by the HDUs.
    """
    chosen = chosen or choose_images(hdus, options)
    choice, header = chosen.choice, chosen.headers[0]
    try:
        planes = _read_planes(hdus, chosen, options, region or find_wanted_region(options))
    except (GalmorphError, MemoryError):
        raise
    except Exception as error:
        raise PixelsError from error
    for hdu in () if keep else choice.hdus:
        vars(hdu).pop("data", None)
    planes.notes = {**_describe_choice(choice), **planes.notes}
    named = choice.bands or find_band_names(header, planes.array.shape[0])
    return assemble_planes(planes, header, named, options)


def _check_scale(header: Cards) -> None:
    for key in ("BSCALE", "BZERO"):
        lost = header.find_lost(key)
        if lost:
            reason = f"{key} = {lost} is no number, so the values of the pixels are not known"
            raise UnreadableImageError(reason)


def _describe_choice(choice: HduChoice) -> dict[str, str]:
    notes = {"hdu": choice.label}
    if choice.left:
        notes["more_images"] = choice.left
    if choice.remark:
        notes["message"] = choice.remark
    if any(map(_is_rounded, choice.hdus)):
        notes["zeros"] = "rounded by the compression"
    return notes


def _is_rounded(hdu: Any) -> bool:
    """Whether compression made steps of floats, without noise in place of what was lost.

    Sky between half a step above 0 and half a step below is 0 then.
    """
    if getattr(hdu, "quantize_method", None) != NO_DITHER or hdu.header.get("BITPIX", 0) > 0:
        return False
    try:
        return hdu.fileinfo() is not None and "ZSCALE" in hdu.compressed_data.names
    except (OSError, ValueError):  # in memory, of a file that is closed
        return False


def _take_wanted(choice: HduChoice, options: ReadOptions) -> HduChoice:
    """Leave out HDUs of bands that nobody wants, where all that are wanted are there."""
    if choice.bands is None or options.bands is None:
        return choice
    wanted = {find_band(band, choice.bands) for band in options.bands}
    if None in wanted:
        return choice
    pairs = [pair for pair in zip(choice.hdus, choice.bands, strict=True) if pair[1] in wanted]
    return replace(choice, hdus=tuple(h for h, _ in pairs), bands=tuple(b for _, b in pairs))


def find_wanted_region(options: ReadOptions) -> Region | None:
    """Part of the sky that the options ask for, None for the whole image."""
    if options.center is None and options.fov is None:
        return None
    ra, dec = options.center if options.center is not None else (math.nan, math.nan)
    return Region(ra, dec, options.fov if options.fov is not None else math.nan)


def _find_cards(hdus: HDUList, hdu: Any) -> Cards:
    """Cards of an HDU and those that it takes from the primary header."""
    if hdu is hdus[0]:
        return Cards(hdu.header)
    primary = Cards(hdus[0].header)
    inherited = {key: primary[key] for key in INHERITED_KEYS if key in primary}
    if not math.isnan(find_zeropoint(Cards(hdu.header))):  # it may have another name there
        for key in ZEROPOINT_KEYS:
            inherited.pop(key, None)
    own = Cards(hdu.header, inherited)
    own.unread += [key for key in primary.unread if key in INHERITED_KEYS]
    return own


@dataclass(slots=True)
class Planes:
    """Pixels of an image, still as FITS has them: row 0 at the bottom."""

    array: Array
    frame: SkyFrame
    flags: Flags
    notes: dict[str, str]
    calibrations: list[Calibration] = field(default_factory=list)  # of each plane


def _read_planes(
    hdus: HDUList, chosen: Chosen, options: ReadOptions, region: Region | None
) -> Planes:
    wanted, calibrations = chosen.choice.hdus, chosen.calibrations
    skies = [(None, "")] * len(wanted) if region is None else chosen.load_skies(hdus)
    arrays: list[Array] = []
    frames: list[SkyFrame] = []
    flags, notes = Flags.NONE, dict[str, str]()
    for hdu, (sky, remark) in zip(wanted, skies, strict=True):
        shape, size = check_shape(hdu, len(skies), options, region), find_size(hdu)
        box = None
        if region is None:
            frames.append(frame_from_header(hdu.header, size, hdus))
        else:
            box = find_region(sky, size, region, remark)
            box.check_size(options)
            check_tiles(hdu, (*shape[:-2], box.side, box.side), options)
            frames.append(box.frame)
            flags |= Flags.PADDED if box.padded(*size) else Flags.NONE
            notes.setdefault("region", str(box))
        array, said = read_pixels(hdu, box)
        arrays.append(array)
        notes |= said
    names = [calibration.where for calibration in calibrations]
    grid = bring_to_one_grid(arrays, frames, names, [c.unit for c in calibrations])
    array = grid.arrays[0] if len(arrays) == 1 else np.concatenate(grid.arrays)
    each = [c for c, array in zip(calibrations, arrays, strict=True) for _ in array]
    return Planes(array, grid.frame, flags | grid.flags, {**notes, **grid.notes}, each)


def assemble_planes(
    planes: Planes,
    header: Mapping[str, Any],
    named: tuple[str, ...] | None,
    options: ReadOptions,
) -> Cutout:
    """Make a cutout of planes, their names in the file (None: none) and the cards of the first."""
    array, flags, calibrations = planes.array, planes.flags, planes.calibrations
    notes = dict(planes.notes)
    if named is None and options.bands is None:
        if array.dtype == np.uint8 and array.shape[0] == 3:
            named, flags = RENDERED_NAMES, flags | Flags.ASSUMED_STRETCH
            notes["bands"] = "8-bit planes without names taken for red, green, blue"
        _refuse_spectrum(header, array.shape[0])
    bands, indices = choose_planes(named, options.bands, array.shape[0])
    if indices is not None:
        array, calibrations = array[indices], [calibrations[n] for n in indices]
    frame = planes.frame
    if is_top_down(header):
        array, frame = array[:, ::-1], frame.turn_over()
    array, kind = to_cutout_array(array, bands)
    calibration = calibrations[0]
    if kind == "flux":
        array, calibration, scaled = match_planes(array, calibrations)
        notes |= scaled
    if frame.orientation:
        notes["orientation"] = frame.orientation
    if not math.isnan(calibration.zeropoint):
        notes["zeropoint"] = repr(calibration.zeropoint)
    survey = find_survey(header)
    unread = header.unread if isinstance(header, Cards) else []
    unread_said = f"{', '.join(unread)} cannot be read" if unread else ""
    remarks = [notes.get("message", ""), frame.remark, unread_said]
    if any(remarks):
        notes["message"] = "; ".join(filter(None, remarks))
    return Cutout(
        array, bands, kind, "", "", frame.ra, frame.dec, frame.pixel_scale,
        survey, calibration.unit, flags, notes=notes, matrix=frame.matrix,
    )  # fmt: skip


def is_top_down(header: Mapping[str, Any]) -> bool:
    """Whether row 0 of the file is the top."""
    return str(header.get("ROWORDER", "")).strip().upper() == "TOP-DOWN"


def _refuse_spectrum(header: Mapping[str, Any], planes: int) -> None:
    for n in range(1, 10) if planes > 1 else ():
        kind = str(header.get(f"CTYPE{n}", "")).strip()
        if header.get(f"NAXIS{n}", planes if n == 3 else 1) == 1:
            continue
        if kind[:4].upper() in SPECTRAL_AXES:
            raise BandError(
                f"a spectral cube of {planes} planes (CTYPE{n} = {kind!r}); make one "
                "image of each band out of it, or of few planes name each, as in --bands g,r,z"
            )
        if re.split(r"\W", kind.upper())[0] in TIME_AXES:
            raise BandError(
                f"a series of {planes} images in time (CTYPE{n} = {kind!r}); make one "
                "image out of it"
            )
