"""TIFF: the orientation tag put out of action, and what Pillow cannot read."""

from __future__ import annotations

import io
import math
import struct
from typing import Any

import numpy.typing as npt

from galmorph.errors import (
    ImageError,
    ImageTooLargeError,
    MissingExtraError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.compressed import DEFLATE_RATIO, decompress
from galmorph.images.cutout import Cutout
from galmorph.settings import ReadOptions

__all__ = ["drop_orientation", "has_more_pages", "read_tiff"]

ORIENTATION_TAG = 274
CLASSIC_VERSION = 42
MAX_ENTRIES = 4096
UNBOUNDED_METHODS = {8: "zlib", 32946: "zlib", 34925: "xz"}
"""By number of the compression (TIFF 6.0 and its supplements)."""


def drop_orientation(data: bytes) -> bytes:
    """Set the orientation of the first image to 1, as stored.

    Pillow turns a TIFF by its orientation tag and cannot be told not to.

    Parameters
    ----------
    data : bytes
        A TIFF file.

    Returns
    -------
    bytes
        The same file, or a copy in which the tag says 1. BigTIFF is given back as it is.
    """
    order, start, entries = _find_first_page(data)
    for index in range(min(entries, MAX_ENTRIES)):
        entry = start + 2 + 12 * index
        if entry + 12 > len(data):
            break
        if struct.unpack_from(order + "H", data, entry)[0] == ORIENTATION_TAG:
            value = struct.pack(order + "H", 1)
            return data[: entry + 8] + value + data[entry + 10 :]
    return data


def _find_first_page(data: bytes) -> tuple[str, int, int]:
    """Byte order, place, and number of entries of the first directory; no entries if unknown."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 8 or struct.unpack_from(order + "H", data, 2)[0] != CLASSIC_VERSION:
        return order, 0, 0
    start = struct.unpack_from(order + "I", data, 4)[0]
    if start + 2 > len(data):
        return order, 0, 0
    return order, start, struct.unpack_from(order + "H", data, start)[0]


def has_more_pages(data: bytes) -> bool:
    """Whether a TIFF holds more images than the first, which is the one that is read.

    Parameters
    ----------
    data : bytes
        A TIFF file; of BigTIFF it is not known.

    Returns
    -------
    bool
    """
    order, start, entries = _find_first_page(data)
    after = start + 2 + 12 * entries
    if not entries or after + 4 > len(data):
        return False
    return bool(struct.unpack_from(order + "I", data, after)[0])


def read_tiff(
    data: bytes, error: Exception, *, options: ReadOptions, object_id: str, path: str
) -> Cutout:
    """Read by tifffile what Pillow refused: float64, several float or 16-bit channels.

    Parameters
    ----------
    data : bytes
        The whole file.
    error : Exception
        What Pillow said.
    options : ReadOptions
        `max_pixels` and `bands` are used.
    object_id, path : str
        Carried into the cutout.

    Raises
    ------
    MissingExtraError
        tifffile is not installed.
    UnreadableImageError, UnsupportedImageError, ImageTooLargeError
        tifffile cannot read it either, or not as one image.
    """
    try:
        import tifffile
    except ImportError:
        raise MissingExtraError("tifffile", "tiff", f"to read {path} ({error})") from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            array = _read_first_page(tiff, options, path)
    except (ImageError, MemoryError):
        raise
    # As for the other decoders: a damaged file may raise nearly anything.
    except Exception as second:
        said = " ".join(str(second).split())[:200] or type(second).__name__
        raise UnreadableImageError(f"the TIFF cannot be read ({said})", path) from second
    return _make_cutout(array, options, object_id, path)


def _read_first_page(tiff: Any, options: ReadOptions, path: str) -> npt.NDArray[Any]:
    # The first page alone: a damaged chain of pages may lead in a circle.
    page = tiff.pages.first
    shape = tuple(int(n) for n in page.shape)
    if math.prod(shape) > options.max_pixels:
        raise ImageTooLargeError(
            f"the shape {shape} is more than max_pixels = {options.max_pixels}", path
        )
    _check_segments(tiff.filehandle, page, options.max_bytes, path)
    array: npt.NDArray[Any] = page.asarray(maxworkers=1)
    return array


def _check_segments(file: Any, page: Any, limit: int, path: str) -> None:
    """Refuse strips that unpack to more than the image may take: their decoder has no bound."""
    method = UNBOUNDED_METHODS.get(int(page.compression))
    if method is None or sum(page.databytecounts) * DEFLATE_RATIO <= limit:
        return
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        limit -= len(decompress(file.read(count), method, limit=limit, path=path))


def _make_cutout(
    array: npt.NDArray[Any], options: ReadOptions, object_id: str, path: str
) -> Cutout:
    from galmorph.images.arrays import cutout_from_array

    if array.ndim not in (2, 3):
        raise UnsupportedImageError(f"the TIFF has the shape {array.shape}, not an image", path)
    if array.ndim == 3 and array.shape[2] == 4 and options.bands is None:
        array = array[:, :, :3]
    return cutout_from_array(array, options=options, object_id=object_id, path=path)
