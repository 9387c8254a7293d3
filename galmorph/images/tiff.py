"""TIFF, and what of it Pillow cannot read."""

import io
import logging
import math
from typing import Any

import numpy as np

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.arrays import cutout_from_array
from galmorph.images.compressed import DEFLATE_RATIO, decompress
from galmorph.images.cutout import Cutout
from galmorph.images.library import check_pixels, import_extra, reading
from galmorph.images.raster import cutout_from_pil, decode
from galmorph.settings import ReadOptions

BITS_PER_SAMPLE = 258  # tag of a TIFF
ORIENTATION = 274  # the same of EXIF
TURN_BACK = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # to `PIL.Image.Transpose`
FIRST_PAGE = "the first of several"
SILENT = logging.NullHandler()
UNBOUNDED_METHODS = {8: "zlib", 32946: "zlib", 34925: "xz"}  # TIFF 6.0 and its supplements


def read(data: bytes, options: ReadOptions) -> Cutout:
    """Decode the first page of a file."""
    try:
        return decode(data, _open, "TIFF", options, _to_cutout)
    except UnreadableImageError as error:
        if "mode" not in str(error.__cause__):  # "unknown pixel mode", or what `_open` refuses
            raise
        return _read_by_tifffile(data, options)


def _open(stream: io.BytesIO) -> Any:
    from PIL.TiffImagePlugin import TiffImageFile

    image = TiffImageFile(stream)
    bits = image.tag_v2.get(BITS_PER_SAMPLE, ())
    if isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8:
        raise ValueError("a mode of which Pillow keeps 8 of the 16 bits of its colours")
    return image


def _to_cutout(image: Any) -> Cutout:
    """As the pixels are stored, whatever the orientation, by which Pillow turns them."""
    turned, several = image.getexif().get(ORIENTATION), image.is_animated
    cutout = cutout_from_pil(image.transpose(TURN_BACK[turned]) if turned in TURN_BACK else image)
    return cutout.note(page=FIRST_PAGE) if several else cutout


def _read_by_tifffile(data: bytes, options: ReadOptions) -> Cutout:
    """Read what Pillow refused: float64, several float or 16-bit channels."""
    tifffile = import_extra("tifffile", "tiff", "to read TIFF files of this kind")
    logging.getLogger("tifffile").addHandler(SILENT)  # of damaged tags, tag by tag
    damaged = "the TIFF is damaged or of a kind not read"
    with reading(damaged), tifffile.TiffFile(io.BytesIO(data)) as tiff:
        # The first page alone: a damaged chain of pages may lead in a circle.
        page, several = tiff.pages.first, tiff.pages.is_multipage
        shape = tuple(int(n) for n in page.shape)
        check_pixels(math.prod(shape), f"an image of shape {shape}", options)
        method, limit = UNBOUNDED_METHODS.get(int(page.compression)), options.max_bytes
        if method is not None and sum(page.databytecounts) * DEFLATE_RATIO > limit:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                tiff.filehandle.seek(offset)  # strips whose decoder has no bound
                limit -= len(decompress(tiff.filehandle.read(count), method, limit=limit))
        array = np.asarray(page.asarray(maxworkers=1))
    if array.ndim not in (2, 3):
        raise UnsupportedImageError(f"the TIFF has the shape {array.shape}, not an image")
    if array.ndim == 3 and array.shape[2] == 4 and options.bands is None:
        array = array[:, :, :3]
    cutout = cutout_from_array(array, options)
    return cutout.note(page=FIRST_PAGE) if several else cutout
