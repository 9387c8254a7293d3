"""FITS in all its variants to a cutout."""

import math
import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np

from galmorph.errors import BandError, ImageError, UnreadableImageError
from galmorph.flags import Flags
from galmorph.images.bands import choose_planes, find_band, find_band_names
from galmorph.images.calibration import (
    ZEROPOINT_KEYS,
    calibration_from_header,
    find_survey,
    find_zeropoint,
)
from galmorph.images.cutout import RENDERED_BANDS, Array, Cutout, to_cutout_array
from galmorph.images.fits_files import (
    STRANGE_PIXELS,
    Cards,
    check_shape,
    check_tiles,
    open_fits,
    reading_fits,
)
from galmorph.images.grids import Planes, bring_to_one_grid, make_cutout
from galmorph.images.hdus import HduChoice, choose_hdus
from galmorph.images.library import check_pixels, reading
from galmorph.images.plain_fits import NO_DITHER, PlainHdu
from galmorph.images.regions import find_region, find_size, read_pixels
from galmorph.images.sky import SkyFrame, frame_from_header, frame_from_wcs, load_sky
from galmorph.images.source import Region
from galmorph.settings import ReadOptions

SPECTRAL_AXES = frozenset(
    {"WAVE", "AWAV", "LAMB", "FREQ", "VELO", "VRAD", "VOPT", "FELO", "ZOPT", "ENER", "WAVN", "BETA"}
)
TIME_AXES = frozenset(
    {"TIME", "UTC", "TAI", "TT", "TDB", "TCB", "TCG", "UT1", "GPS", "MJD", "JD", "EPOCH"}
)
# Cards that an extension takes from the primary header, zero points where it has none.
INHERITED_KEYS = ("SURVEY", "BANDS", "FILTER", "BUNIT", "ORIGIN", "TELESCOP", "LEGPIPEV")
MOST_OPEN = 32


def read_fits(file: str | bytes, options: ReadOptions) -> Cutout:
    """Read a FITS file, by its path (mapped) or its bytes; row 0 on top."""
    with reading_fits(file), closing(open_fits(file)) as hdus:
        return cutout_from_hdus(hdus, options)


class _OpenFits:
    """A file that a thread leaves open for its next row, with what was chosen of it."""

    def __init__(self, path: str, process: int, thread: int, changed_ns: int) -> None:
        self.hdus = open_fits(path)
        self.choose = cache(partial(_choose_images, self.hdus))

    def __del__(self) -> None:
        with suppress(Exception):  # nobody can be told of an error any more
            self.hdus.close()


_open_kept = lru_cache(MOST_OPEN)(_OpenFits)


def read_part(file: str, options: ReadOptions, region: Region | None = None) -> Cutout:
    """Read an HDU, or a square of sky of one, and leave the file open."""
    with reading_fits(file):
        # Threads cannot share the position in a file.
        opened = _open_kept(file, os.getpid(), threading.get_ident(), os.stat(file).st_mtime_ns)
        try:
            chosen = opened.choose(options.hdu, options.bands)
            return cutout_from_hdus(opened.hdus, options, region=region, chosen=chosen, keep=False)
        except ImageError as error:
            # The frames of its traceback would keep the file open as long as the row lives.
            failure = error.with_traceback(None)
        except (OSError, ValueError):
            _open_kept.cache_clear()  # an open file that failed once is not to be trusted
            raise
        del opened
        raise failure


def _choose_images(hdus: Any, wanted: Any, bands: Sequence[str] | None) -> HduChoice:
    """Find the HDUs that are wanted, with their cards."""
    choice = _take_wanted(choose_hdus(hdus, wanted), bands)
    headers = [_find_cards(hdus, hdu) for hdu in choice.hdus]
    for key in ("BSCALE", "BZERO"):
        if lost := next((header.lost[key] for header in headers if header.lost.get(key)), ""):
            reason = f"{key} = {lost} is no number, so the values of the pixels are not known"
            raise UnreadableImageError(reason)
    numbers = (next(n for n, other in enumerate(hdus) if other is hdu) for hdu in choice.hdus)
    names = [f"HDU {number}" for number in numbers]
    calibrations = list(map(calibration_from_header, headers, names))
    return replace(choice, headers=headers, calibrations=calibrations)


def cutout_from_hdus(
    hdus: Any,
    options: ReadOptions,
    *,
    region: Region | None = None,
    chosen: HduChoice | None = None,
    keep: bool = True,
) -> Cutout:
    """Read a cutout from an open HDU list; what has been chosen is taken as it is."""
    chosen = chosen or _choose_images(hdus, options.hdu, options.bands)
    with reading(STRANGE_PIXELS):
        planes = _read_planes(hdus, chosen, options, region or _find_region(options))
    for hdu in () if keep else chosen.hdus:
        vars(hdu).pop("data", None)
    named = chosen.bands or find_band_names(chosen.headers[0], planes.array.shape[0])
    return _assemble(planes, chosen.headers[0], named, options)


def _is_rounded(hdu: Any) -> bool:
    """Whether compression made steps of floats, without noise: then sky within a step is 0."""
    if isinstance(hdu, PlainHdu):
        return hdu.is_rounded
    if getattr(hdu, "quantize_method", None) != NO_DITHER or hdu.header.get("BITPIX", 0) > 0:
        return False
    try:
        return hdu.fileinfo() is not None and "ZSCALE" in hdu.compressed_data.names
    except (OSError, ValueError):  # in memory, of a file that is closed
        return False


def _take_wanted(choice: HduChoice, asked: Sequence[str] | None) -> HduChoice:
    """Leave out HDUs of bands that nobody wants, where all that are wanted are there."""
    if choice.bands is None or asked is None:
        return choice
    wanted = {find_band(band, choice.bands) for band in asked}
    if None in wanted:
        return choice
    pairs = [pair for pair in zip(choice.hdus, choice.bands, strict=True) if pair[1] in wanted]
    return replace(choice, hdus=tuple(h for h, _ in pairs), bands=tuple(b for _, b in pairs))


def _find_region(options: ReadOptions) -> Region | None:
    if options.center is None and options.fov is None:
        return None
    ra, dec = options.center if options.center is not None else (math.nan, math.nan)
    return Region(ra, dec, options.fov if options.fov is not None else math.nan)


def _find_cards(hdus: Any, hdu: Any) -> Cards:
    """Cards of an HDU and those that it takes from the primary header."""
    if hdu is hdus[0]:
        return Cards(hdu.header)
    primary = Cards(hdus[0].header)
    lacking = math.isnan(find_zeropoint(Cards(hdu.header)))  # it may have another name there
    keys = (*INHERITED_KEYS, *ZEROPOINT_KEYS) if lacking else INHERITED_KEYS
    own = Cards(hdu.header, {key: primary[key] for key in keys if key in primary})
    own.unread += [key for key in primary.unread if key in (*INHERITED_KEYS, *ZEROPOINT_KEYS)]
    return own


def _read_planes(
    hdus: Any, chosen: HduChoice, options: ReadOptions, region: Region | None
) -> Planes:
    if region is not None and not chosen.skies:
        for hdu in chosen.hdus:  # of an object in memory its own
            own = hasattr(hdu, "wcs")
            chosen.skies.append((hdu.wcs, "") if own else load_sky(hdu.header, hdus))
    skies = chosen.skies if region is not None else [(None, "")] * len(chosen.hdus)
    arrays: list[Array] = []
    frames: list[SkyFrame] = []
    flags, notes = Flags.NONE, dict(chosen.notes)
    if any(map(_is_rounded, chosen.hdus)):
        notes["zeros"] = "rounded by the compression"
    for hdu, (sky, remark) in zip(chosen.hdus, skies, strict=True):
        shape, size = check_shape(hdu, len(skies), options, region), find_size(hdu)
        box = None
        if region is not None:
            box = find_region(sky, size, region, remark)
            check_pixels(box.side**2, f"a field of {box.side} x {box.side} pixels", options)
            check_tiles(hdu, (*shape[:-2], box.side, box.side), options)
            frames.append(box.frame)
            flags |= Flags.PADDED if box.padded(*size) else Flags.NONE
            notes.setdefault("region", str(box))
        elif hasattr(hdu, "wcs"):
            frames.append(frame_from_wcs(hdu.wcs, size))
        else:
            frames.append(frame_from_header(hdu.header, size, hdus))
        array, said = read_pixels(hdu, box)
        arrays.append(array)
        notes |= said
    return bring_to_one_grid(arrays, frames, chosen.calibrations, flags, notes)


def _assemble(
    planes: Planes, header: Cards, named: tuple[str, ...] | None, options: ReadOptions
) -> Cutout:
    """Make a cutout of planes, their names in the file (None: none) and the cards of the first."""
    array, flags, calibrations = planes.array, planes.flags, planes.calibrations
    notes = dict(planes.notes)
    if named is None and options.bands is None:
        if array.dtype == np.uint8 and array.shape[0] == 3:
            named, flags = RENDERED_BANDS, flags | Flags.ASSUMED_STRETCH
            notes["bands"] = "8-bit planes without names taken for red, green, blue"
        _refuse_spectrum(header, array.shape[0])
    bands, indices = choose_planes(named, options.bands, array.shape[0])
    if indices is not None:
        array, calibrations = array[indices], [calibrations[n] for n in indices]
    frame = planes.frame
    if str(header.get("ROWORDER", "")).strip().upper() == "TOP-DOWN":
        array, frame = array[:, ::-1], frame.turn_over()
    array, kind = to_cutout_array(array, bands)
    if frame.orientation:
        notes["orientation"] = frame.orientation
    survey = find_survey(header)  # the last to ask for cards
    unread = f"{', '.join(header.unread)} cannot be read" if header.unread else ""
    remarks = [notes.get("message", ""), frame.remark, unread]
    if any(remarks):
        notes["message"] = "; ".join(filter(None, remarks))
    planes = Planes(array, frame, calibrations, flags, notes)
    return make_cutout(planes, array, bands, kind, survey)


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
