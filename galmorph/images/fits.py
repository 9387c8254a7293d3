"""FITS in all its variants to a cutout."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    GalmorphError,
    ImageTooLargeError,
    UnreadableImageError,
)
from galmorph.flags import Flags
from galmorph.images.bands import RENDERED_NAMES, choose_planes, find_band_names
from galmorph.images.cutout import Cutout
from galmorph.images.fits_structure import check_structure
from galmorph.images.hdus import HduChoice, choose_hdus
from galmorph.images.options import ReadOptions
from galmorph.images.planes import (
    blank_to_nan,
    drop_axes,
    find_blank,
    stack_planes,
    to_cutout_array,
)
from galmorph.images.quiet import quiet
from galmorph.images.regions import cut_region, find_region
from galmorph.images.sky import SkyFrame, frame_from_header, load_wcs
from galmorph.images.source import Region
from galmorph.images.survey import find_survey, find_unit, find_zeropoint

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

__all__ = ["cutout_from_hdus", "read_fits"]

Array = npt.NDArray[Any]
MAX_TILES = 50_000
"""Tiles of a compressed image, which are unpacked one by one."""

INHERITED_KEYS = ("SURVEY", "BANDS", "FILTER", "BUNIT", "ORIGIN", "TELESCOP", "MAGZERO", "LEGPIPEV")
"""Cards that an extension takes from the primary header where it lacks them."""


def read_fits(
    file: str | bytes,
    *,
    options: ReadOptions,
    region: Region | None = None,
    object_id: str = "",
    path: str = "",
) -> Cutout:
    """Read a FITS file.

    Parameters
    ----------
    file : str or bytes
        Path of an uncompressed (or tile-compressed) file, which is memory-mapped, or its bytes.
    options : ReadOptions
        HDU, bands, bounds.
    region : Region, optional
        Part of the sky to cut out, read without the rest.
    object_id, path : str
        Carried into the cutout and into messages.

    Returns
    -------
    Cutout
        float32 flux with row 0 on top (FITS rows are flipped); uint8 "rendered" for RGB FITS.

    Raises
    ------
    UnreadableImageError, UnsupportedImageError, ImageTooLargeError
        Damaged, without an image, or beyond `options.max_pixels`.
    BandError
        Several planes without names, or bands that are not there.
    """
    with reading_fits(path), open_fits(file, path) as hdus:
        return cutout_from_hdus(
            hdus, options=options, region=region, object_id=object_id, path=path
        )


@contextmanager
def reading_fits(path: str) -> Iterator[None]:
    """Turn whatever astropy says about a damaged file into one kind of error, without warnings."""
    with quiet():
        try:
            yield
        except (GalmorphError, MemoryError):
            raise
        # astropy answers a damaged file with nearly any exception; all of it means the same.
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            reason = f"the FITS is damaged or cut short ({said})"
            raise UnreadableImageError(reason, path) from error


def open_fits(file: str | bytes, path: str) -> HDUList:
    """Open a FITS file without reading more than its first header."""
    from astropy.io import fits

    if isinstance(file, bytes):
        opened: str | io.BytesIO = io.BytesIO(file)
        check_structure(io.BytesIO(file), path)
    else:
        opened = file
        with open(file, "rb") as stream:
            check_structure(stream, path)
    # memmap=None maps where it can: not where BZERO, BSCALE or BLANK are to be applied
    return fits.open(opened, memmap=None, lazy_load_hdus=True)


def cutout_from_hdus(
    hdus: HDUList,
    *,
    options: ReadOptions,
    region: Region | None = None,
    wcs: Any = None,
    object_id: str = "",
    path: str = "",
) -> Cutout:
    """Read a cutout from an open HDU list; see `read_fits`. A WCS given is not built again."""
    choice = choose_hdus(hdus, options.hdu, path)
    header = _merge_headers(hdus, choice)
    planes = _read_planes(choice, options, region or _wanted_region(options), wcs, path)
    named = choice.bands or find_band_names(header, planes.array.shape[0])
    return _assemble(planes, header, named, choice, options, object_id, path)


def _wanted_region(options: ReadOptions) -> Region | None:
    if options.center is None and options.fov is None:
        return None
    ra, dec = options.center if options.center is not None else (math.nan, math.nan)
    return Region(ra, dec, options.fov if options.fov is not None else math.nan)


def _merge_headers(hdus: HDUList, choice: HduChoice) -> Header:
    header: Header = choice.hdus[0].header
    if choice.hdus[0] is hdus[0]:
        return header
    merged = header.copy()
    for key in INHERITED_KEYS:
        if key not in merged and key in hdus[0].header:
            merged[key] = hdus[0].header[key]
    return merged


@dataclass(slots=True)
class _Planes:
    """Pixels of the chosen HDUs, still as FITS has them: row 0 at the bottom."""

    array: Array
    frame: SkyFrame
    flags: Flags
    notes: dict[str, str]


def _read_planes(
    choice: HduChoice, options: ReadOptions, region: Region | None, wcs: Any, path: str
) -> _Planes:
    first = choice.hdus[0]
    shape = check_shape(first, len(choice.hdus), options, region, path)
    if region is None:
        arrays = [_read_whole(hdu) for hdu in choice.hdus]
        frame = frame_from_header(first.header, (shape[-2], shape[-1]))
        return _Planes(stack_planes(arrays, path), frame, Flags.NONE, {})
    wcs = wcs if wcs is not None else load_wcs(first.header)
    box = find_region(wcs, (shape[-2], shape[-1]), region, path)
    box.check_size(options, path)
    _check_tiles(first, (*shape[:-2], box.side, box.side), options, path)
    pieces = [cut_region(hdu, box) for hdu in choice.hdus]
    flags = Flags.PADDED if box.padded(shape[-2], shape[-1]) else Flags.NONE
    return _Planes(stack_planes(pieces, path), box.frame, flags, {"region": str(box)})


def check_shape(
    hdu: Any, count: int, options: ReadOptions, region: Region | None, path: str
) -> tuple[int, ...]:
    """Check what the header claims before any pixel is touched."""
    shape = tuple(int(n) for n in hdu.shape)
    if min(shape) < 1:
        raise UnreadableImageError(f"the image is empty (NAXIS {shape[::-1]})", path)
    pixels = math.prod(shape) * count
    if region is not None:
        return shape
    _check_tiles(hdu, shape, options, path)
    if pixels > options.max_pixels:
        raise ImageTooLargeError(
            f"NAXIS {' x '.join(str(n) for n in shape[::-1])} is more than max_pixels = "
            f"{options.max_pixels}; cut the galaxy out (center and fov, or --mosaic with a "
            "catalogue), or raise the bound",
            path,
        )
    return shape


def _check_tiles(hdu: Any, shape: tuple[int, ...], options: ReadOptions, path: str) -> None:
    """Bound the tiles of a compressed image that must be unpacked for a part of that shape."""
    tile = tuple(int(n) for n in getattr(hdu, "tile_shape", None) or ())
    if not tile:
        return
    if min(tile) < 1 or math.prod(tile) > options.max_pixels:
        raise ImageTooLargeError(f"tiles of {tile} pixels are beyond max_pixels", path)
    tiles = math.prod(-(-n // t) for n, t in zip(shape, tile, strict=False))
    if tiles > MAX_TILES:
        raise ImageTooLargeError(f"{tiles} tiles are more than {MAX_TILES}", path)


def _read_whole(hdu: Any) -> Array:
    blank = find_blank(hdu.header)
    data = hdu.data
    if data is None:
        raise UnreadableImageError("the HDU has no data")
    return blank_to_nan(drop_axes(np.asarray(data)), blank)


def _assemble(
    planes: _Planes,
    header: Header,
    named: tuple[str, ...] | None,
    choice: HduChoice,
    options: ReadOptions,
    object_id: str,
    path: str,
) -> Cutout:
    array, flags = planes.array, planes.flags
    notes = {"hdu": choice.label, **planes.notes}
    if named is None and options.bands is None and _looks_rgb(array):
        named, flags = RENDERED_NAMES, flags | Flags.ASSUMED_STRETCH
        notes["bands"] = "8-bit planes without names taken for red, green, blue"
    bands, indices = choose_planes(named, options.bands, array.shape[0], path or "the FITS")
    if indices is not None:
        array = array[indices]
    array, kind = to_cutout_array(array, bands)
    if planes.frame.orientation:
        notes["orientation"] = planes.frame.orientation
    zeropoint = find_zeropoint(header)
    if not math.isnan(zeropoint):
        notes["zeropoint"] = repr(zeropoint)
    return Cutout(
        array, bands, kind, object_id, path, planes.frame.ra, planes.frame.dec,
        planes.frame.pixel_scale, find_survey(header), find_unit(header), flags, notes=notes,
    )  # fmt: skip


def _looks_rgb(array: Array) -> bool:
    return array.dtype == np.uint8 and array.shape[0] == 3
