"""One door for every kind of cutout: file, container member, object in memory."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import Any

from galmorph.errors import (
    ImageError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.bands import find_band, is_band_name, name_bands
from galmorph.images.compressed import COMPRESSION_MAGIC, decompress
from galmorph.images.cutout import Cutout
from galmorph.images.names import find_position
from galmorph.images.options import ReadOptions
from galmorph.images.raster import read_raster, sniff_raster
from galmorph.images.source import TABLE_ADVICE, Source, make_object_id, make_printable

__all__ = ["ReadOptions", "read_cutout"]

DEFAULT_OPTIONS = ReadOptions()
FIRST_READ = 1 << 18
# Opening a FIFO without it would wait for a writer for ever.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
TABLE_SUFFIXES = (".csv", ".tsv", ".ecsv", ".txt", ".dat", ".vot", ".votable", ".xml")
FITS_MAGIC = (b"SIMPLE", b"XTENSION")
CONTAINER_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file; name the data set, as in file.h5::images",
    b"PK\x03\x04": "a zip or npz file; an npz stack must be named *.npz",
    b"\x93NUMPY": "a numpy file; a stack must be named *.npy",
    b"PAR1": "a Parquet file; it must be named *.parquet",
    b"GIF8": "a GIF, which has too few colours; save it as PNG from the original",
    b"BM": "a BMP; save it as PNG",
}


def read_cutout(
    source: Source | str | os.PathLike[str] | Any,
    *,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Cutout:
    """Read one cutout, whatever it is kept in.

    The kind is decided by the first bytes, never by the suffix.

    Parameters
    ----------
    source : Source, path, bytes, or an object in memory
        See `galmorph.images.arrays.to_sources`.
    options : ReadOptions
        How to read.

    Returns
    -------
    Cutout
        Row 0 on top; nothing is stretched or filled.

    Raises
    ------
    UnreadableImageError
        Missing, not permitted, damaged, cut short, or no image.
    UnsupportedImageError
        A readable file without an image that could be taken.
    ImageTooLargeError
        Beyond `options.max_pixels`, found before the pixels are decoded.
    BandError, AmbiguousShapeError
        Planes whose meaning is not known.
    MissingExtraError
        A library of an extra is needed.
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        source = Source(make_object_id(path), path)
    elif not isinstance(source, Source):
        source = Source("", data=source)
    try:
        cutout = _read(source, options)
        _check_region(cutout, source, options)
    except ImageError as error:
        if error.path:
            raise
        raise type(error)(error.reason, source.location or None) from error
    except MemoryError as error:
        raise ImageTooLargeError("not enough memory", source.location or None) from error
    return _note_order(_add_scale(_add_position(cutout), options), options)


def _check_region(cutout: Cutout, source: Source, options: ReadOptions) -> None:
    """Refuse what has no WCS where a part of the sky was asked for, lest the whole be taken."""
    wanted = options.center is not None or options.fov is not None or source.region is not None
    if wanted and "region" not in cutout.notes:
        raise UnsupportedImageError(
            "no WCS, so no part of the sky can be cut out; only FITS has one (for other images: "
            "the field of view without a centre, and a pixel scale)"
        )


def _read(source: Source, options: ReadOptions) -> Cutout:
    if source.data is not None:
        return _read_object(source, options)
    if source.band_paths:
        return _read_band_files(source, options)
    if source.index >= 0:
        from galmorph.images.containers import read_stack_item

        return read_stack_item(source, options=options)
    return _read_file(source, options)


def _read_object(source: Source, options: ReadOptions) -> Cutout:
    data = source.data
    if isinstance(data, ImageError):
        raise data
    if hasattr(data, "read") and not hasattr(data, "wcs"):  # a file; CCDData reads otherwise
        data = data.read(options.max_bytes + 1)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _read_bytes(bytes(data), source, options)
    from galmorph.images.objects import cutout_from_object

    cutout = cutout_from_object(
        data, options=options, object_id=source.object_id, path=source.location
    )
    if isinstance(data, Cutout) and source.object_id and not cutout.object_id:
        return replace(cutout, object_id=source.object_id)
    return cutout


def _read_band_files(source: Source, options: ReadOptions) -> Cutout:
    from galmorph.images.band_files import join_band_files

    single = replace(options, bands=None)
    names = name_bands(band for band, _ in source.band_paths)
    wanted = None if options.bands is None else {find_band(b, names) for b in options.bands}
    files = [
        (band, _read_file(replace(source, path=path, band_paths=()), single))
        for band, (_, path) in zip(names, source.band_paths, strict=True)
        if wanted is None or band in wanted
    ]
    return join_band_files(files, options=options, object_id=source.object_id, path=source.location)


def _read_file(source: Source, options: ReadOptions) -> Cutout:
    """Open once, look at the first bytes, and read the rest only where it is needed."""
    if not source.path:
        raise UnreadableImageError("no file is named here")
    if source.path in source.unpacked:
        return _read_fits(source.path, source, options)
    try:
        descriptor = os.open(source.path, OPEN_FLAGS)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise UnreadableImageError(_explain(error), source.location) from error
    try:
        size = _check_file(os.fstat(descriptor), source)
        start = max(source.offset, 0)
        if start:
            os.lseek(descriptor, start, os.SEEK_SET)
        head = os.read(descriptor, min(size, FIRST_READ))
        if source.offset < 0 and head.startswith(FITS_MAGIC):
            return _read_fits(source.path, source, options)
        if size > options.max_bytes:
            raise ImageTooLargeError(f"{size} bytes are more than max_pixels allows for")
        return _read_bytes(_read_rest(descriptor, head, size), source, options)
    except OSError as error:
        if isinstance(error, ImageError):
            raise
        raise UnreadableImageError(_explain(error), source.location) from error
    finally:
        os.close(descriptor)


def _check_file(status: os.stat_result, source: Source) -> int:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UnsupportedImageError(f"this is {kind}", source.location)
    if source.offset < 0:
        size = status.st_size
    else:
        size = min(source.size, status.st_size - source.offset)
        if size < source.size:
            raise UnreadableImageError("the tar file ends inside this member", source.location)
    if size <= 0:
        raise UnreadableImageError("the file is empty", source.location)
    return size


def _read_rest(descriptor: int, head: bytes, size: int) -> bytes:
    if len(head) >= size:
        return head
    parts, missing = [head], size - len(head)
    while missing > 0:
        part = os.read(descriptor, missing)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _read_bytes(data: bytes, source: Source, options: ReadOptions, depth: int = 0) -> Cutout:
    raster = sniff_raster(data)
    if raster:
        return read_raster(
            data,
            raster,
            options=options,
            object_id=source.object_id,
            path=source.location,
        )
    if data.startswith(FITS_MAGIC):
        return _read_fits(data, source, options)
    for magic, name in COMPRESSION_MAGIC.items():
        if data.startswith(magic) and depth == 0:
            data = decompress(data, name, limit=options.max_bytes, path=source.location)
            return _read_bytes(data, source, options, depth=1)
    for magic, advice in CONTAINER_MAGIC.items():
        if data.startswith(magic):
            raise UnsupportedImageError(f"this is {advice}", source.location)
    if data[257:262] == b"ustar":
        raise UnsupportedImageError("this is a tar file; it must be named *.tar", source.location)
    advice = f" ({TABLE_ADVICE})" if source.path.lower().endswith(TABLE_SUFFIXES) else ""
    raise UnreadableImageError(
        f"not an image: what begins with {data[:8]!r} is none of JPEG, PNG, TIFF, WebP, FITS"
        f"{advice}",
        source.location,
    )


def _read_fits(file: str | bytes, source: Source, options: ReadOptions) -> Cutout:
    if source.region is not None and isinstance(file, str):
        from galmorph.images.mosaic import read_region

        return read_region(source, options=options)
    from galmorph.images.fits import read_fits

    return read_fits(
        file,
        options=options,
        region=source.region,
        object_id=source.object_id,
        path=source.location,
    )


def _explain(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "this file may not be read (no permission)"
    said = getattr(error, "strerror", None) or make_printable(str(error))
    return f"the file cannot be opened ({said})"


def _add_scale(cutout: Cutout, options: ReadOptions) -> Cutout:
    if options.pixel_scale is None or cutout.pixel_scale == cutout.pixel_scale:
        return cutout
    reduced = float(cutout.notes.get("reduced", 1))
    notes = {**cutout.notes, "pixel_scale": "as given"}
    return replace(cutout, pixel_scale=options.pixel_scale * reduced, notes=notes)


def _note_order(cutout: Cutout, options: ReadOptions) -> Cutout:
    """Say where the order of the bands is only known from the user."""
    if options.bands is None or all(map(is_band_name, cutout.bands)):
        return cutout
    return replace(cutout, notes={**cutout.notes, "band_order": "as given"})


def _add_position(cutout: Cutout) -> Cutout:
    if cutout.ra == cutout.ra:  # not NaN: the WCS knows
        return cutout
    position = find_position(cutout.object_id)
    if position is None:
        return cutout
    notes = {**cutout.notes, "position": "from the file name"}
    return replace(cutout, ra=position[0], dec=position[1], notes=notes)
