"""JPEG bytes: no more rows than will be looked at, and by simplejpeg where it is installed."""

import math
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from galmorph.errors import UnreadableImageError
from galmorph.images.cutout import Array, Cutout
from galmorph.images.raster import cutout_from_pil, decode
from galmorph.settings import ReadOptions

MARGIN = 16  # rows below those that will be seen: colours of neighbours are interpolated
MAX_SCANS = 100  # a progressive JPEG has about ten; thousands are an attack on the decoder's time
SEQUENTIAL = (0xC0, 0xC1)  # Huffman-coded frames whose rows come in order; ITU-T T.81, table B.1
TABLES = (0xC4, 0xDB, 0xDD)
START_OF_SCAN = 0xDA
END_OF_IMAGE = b"\xff\xd9"


def read(data: bytes, options: ReadOptions) -> Cutout:
    """Decode a file: no more rows than will be seen, perhaps at a part of its size ("reduced")."""
    if (short := shorten_jpeg(data, options)) is not None:
        # What is wrong is said of the whole file.
        with suppress(UnreadableImageError):
            return replace(_decode(short[0], options, strict=False), frame=short[1])
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise UnreadableImageError(f"more than {MAX_SCANS} JPEG scans are refused")
    return _decode(data, options, strict=True)


def _decode(data: bytes, options: ReadOptions, *, strict: bool) -> Cutout:
    if (pixels := decode_usual_jpeg(data, options, strict=strict)) is not None:
        return Cutout(pixels)
    from PIL.JpegImagePlugin import JpegImageFile

    def to_cutout(image: JpegImageFile) -> Cutout:
        width, side = image.width, options.min_side
        if side is not None:
            image.draft(None, (side, side))
        cutout = cutout_from_pil(image)
        factor = round(width / cutout.array.shape[2])
        return cutout if factor == 1 else cutout.note(reduced=str(factor))

    return decode(data, JpegImageFile, "JPEG", options, to_cutout)


def shorten_jpeg(data: bytes, options: ReadOptions) -> tuple[bytes, tuple[int, int]] | None:
    """The file with fewer rows in its header, and its whole size; None where that gains nothing."""
    if options.seen is None or not data.endswith(END_OF_IMAGE):
        return None
    if (found := _find_size(data)) is None:
        return None
    position, height, width, planes = found
    side = min(height, width)
    rows = math.ceil((height + side * options.seen) / 2) + MARGIN
    other = options.seen_side is not None and (height, width) != (options.seen_side,) * 2
    reduced = options.min_side is not None and side >= 2 * options.min_side
    sane = 0 < planes * height * width <= options.max_pixels
    if rows >= height or other or reduced or not sane:
        return None
    shorter = data[:position] + rows.to_bytes(2, "big") + data[position + 2 :]
    return shorter, (height, width)


def _find_size(data: bytes) -> tuple[int, int, int, int] | None:
    """Where the height stands, height, width and planes of a file with one sequential scan."""
    frame = None
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker == START_OF_SCAN:
            return frame if frame is not None and data[at + 4] == frame[3] else None
        if marker in SEQUENTIAL and frame is None:
            height, width = (int.from_bytes(data[n : n + 2]) for n in (at + 5, at + 7))
            frame = (at + 5, height, width, data[at + 9])
        elif marker not in TABLES and not 0xE0 <= marker < 0xFF:
            return None  # another kind of frame, or no segment at all
        at += 2 + length
    return None


def decode_usual_jpeg(data: bytes, options: ReadOptions, *, strict: bool = True) -> Array | None:
    """Decode a JPEG of three colours at full size, (3, y, x); None for what Pillow is to read."""
    if (library := _import_simplejpeg()) is None:
        return None
    try:
        height, width, colours, _ = library.decode_jpeg_header(data)
        if colours != "YCbCr" or not 0 < 3 * height * width <= options.max_pixels:
            return None
        if options.min_side is not None and min(height, width) >= 2 * options.min_side:
            return None
        pixels: Array = library.decode_jpeg(data, colorspace="RGB", strict=strict)
    except Exception:  # whatever it is, Pillow says it better
        return None
    return pixels.transpose(2, 0, 1)


@cache
def _import_simplejpeg() -> Any:
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
