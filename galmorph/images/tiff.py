"""TIFF: the orientation tag put out of action, and what Pillow cannot read."""

import io
import logging
import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.arrays import cutout_from_array
from galmorph.images.compressed import DEFLATE_RATIO, decompress
from galmorph.images.cutout import Cutout
from galmorph.images.library import check_pixels, import_extra, reading
from galmorph.images.raster import decode
from galmorph.settings import ReadOptions

BITS_PER_SAMPLE = 258  # tags of a TIFF
SILENT = logging.NullHandler()
ORIENTATION_TAG = 274
CLASSIC_VERSION = 42
MAX_ENTRIES = 4096
UNBOUNDED_METHODS = {8: "zlib", 32946: "zlib", 34925: "xz"}  # TIFF 6.0 and its supplements


def _drop_orientation(data: bytes) -> bytes:
    """Set the orientation of the first image to 1, as stored: Pillow would turn it. Not BigTIFF."""
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


def read(data: bytes, options: ReadOptions) -> Cutout:
    """Decode the first page of a file."""
    try:
        cutout = decode(data, _open, "TIFF", options)
    except UnreadableImageError as error:
        if "mode" not in str(error.__cause__):  # "unknown pixel mode", or what `_open` refuses
            raise
        cutout = _read_by_tifffile(data, options)
    order, start, entries = _find_first_page(data)
    after = start + 2 + 12 * entries
    if not entries or after + 4 > len(data) or not struct.unpack_from(order + "I", data, after)[0]:
        return cutout
    return cutout.note(page="the first of several")


def _open(stream: io.BytesIO) -> Any:
    from PIL.TiffImagePlugin import TiffImageFile

    image = TiffImageFile(io.BytesIO(_drop_orientation(stream.getvalue())))
    bits = image.tag_v2.get(BITS_PER_SAMPLE, ())
    if isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8:
        raise ValueError("a mode of which Pillow keeps 8 of the 16 bits of its colours")
    return image


def _read_by_tifffile(data: bytes, options: ReadOptions) -> Cutout:
    """Read what Pillow refused: float64, several float or 16-bit channels."""
    tifffile = import_extra("tifffile", "tiff", "to read TIFF files of this kind")
    logging.getLogger("tifffile").addHandler(SILENT)  # of damaged tags, tag by tag
    with (
        reading("the TIFF is damaged or of a kind not read"),
        tifffile.TiffFile(io.BytesIO(data)) as tiff,
    ):
        array = _read_first_page(tiff, options)
    if array.ndim not in (2, 3):
        raise UnsupportedImageError(f"the TIFF has the shape {array.shape}, not an image")
    if array.ndim == 3 and array.shape[2] == 4 and options.bands is None:
        array = array[:, :, :3]
    return cutout_from_array(array, options)


def _read_first_page(tiff: Any, options: ReadOptions) -> npt.NDArray[Any]:
    # The first page alone: a damaged chain of pages may lead in a circle.
    page = tiff.pages.first
    shape = tuple(int(n) for n in page.shape)
    check_pixels(math.prod(shape), f"an image of shape {shape}", options)
    method, limit = UNBOUNDED_METHODS.get(int(page.compression)), options.max_bytes
    if method is not None and sum(page.databytecounts) * DEFLATE_RATIO > limit:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            tiff.filehandle.seek(offset)  # strips whose decoder has no bound
            limit -= len(decompress(tiff.filehandle.read(count), method, limit=limit))
    return np.asarray(page.asarray(maxworkers=1))
