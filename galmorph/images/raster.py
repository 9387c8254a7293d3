"""JPEG, PNG, TIFF and WebP bytes to a cutout, as near to the decoder's own time as can be."""

from __future__ import annotations

import io
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import ImageError, ImageTooLargeError, UnreadableImageError
from galmorph.flags import Flags
from galmorph.images.cutout import Cutout
from galmorph.images.jpeg import decode_usual_jpeg, shorten_jpeg
from galmorph.images.pixel_views import share_pixels
from galmorph.images.planes import lay_on_black
from galmorph.images.quiet import quiet
from galmorph.settings import ReadOptions

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check_size", "cutout_from_pil", "read_raster", "sniff_raster"]

MAX_JPEG_SCANS = 100
"""A progressive JPEG has about ten scans; thousands are an attack on the decoder's time."""

BITS_PER_SAMPLE = 258  # tag of a TIFF
FIRST_SEGMENTS = 4096  # where a camera writes its Exif segment

Array = npt.NDArray[Any]


def sniff_raster(head: bytes) -> str:
    """Name of the raster format that the first bytes announce, "" for none."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    return ""


def read_raster(
    data: bytes,
    format_name: str,
    *,
    options: ReadOptions,
    object_id: str = "",
    path: str = "",
) -> Cutout:
    """Decode a raster image.

    Parameters
    ----------
    data : bytes
        The whole file.
    format_name : {"JPEG", "PNG", "TIFF", "WEBP"}
        As `sniff_raster` gives it.
    options : ReadOptions
        `max_pixels`, `min_side` and `seen` are used.
    object_id, path : str
        Carried into the cutout.

    Returns
    -------
    Cutout
        Rendered, (3, y, x); flux where a TIFF holds floats outside [0, 1]. An EXIF orientation
        is ignored on purpose: it tells how a camera was held, and the sky has no upright. A
        JPEG that was decoded at a part of its size notes the factor as "reduced" (2, 4 or 8).

    Raises
    ------
    ImageTooLargeError
        More pixels than `options.max_pixels`; known before anything is decoded.
    UnreadableImageError
        The decoder gives up.
    """
    if format_name == "JPEG":
        return _read_jpeg(data, options, object_id, path)
    with quiet():  # Pillow warns of damaged tags, which say nothing of the pixels
        cutout = _decode(data, format_name, options, object_id, path)
    if format_name == "TIFF":
        from galmorph.images.tiff import has_more_pages

        if has_more_pages(data):
            return replace(cutout, notes={**cutout.notes, "page": "the first of several"})
    return cutout


def _read_jpeg(data: bytes, options: ReadOptions, object_id: str, path: str) -> Cutout:
    short = shorten_jpeg(data, options)
    if short is not None:
        # What is wrong is said of the whole file.
        with suppress(UnreadableImageError):
            return _decode_jpeg(short.data, options, object_id, path, frame=short.frame)
    if data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise UnreadableImageError(f"more than {MAX_JPEG_SCANS} JPEG scans are refused", path)
    return _decode_jpeg(data, options, object_id, path)


def _decode_jpeg(
    data: bytes,
    options: ReadOptions,
    object_id: str,
    path: str,
    frame: tuple[int, int] | None = None,
) -> Cutout:
    """Decode a JPEG; with a frame it is a short one, of which libjpeg-turbo has much to say."""
    pixels = decode_usual_jpeg(data, options, strict=frame is None)
    if pixels is not None:
        return Cutout(pixels, object_id=object_id, path=path, frame=frame)
    noisy = data.find(b"Exif", 0, FIRST_SEGMENTS) >= 0
    with quiet() if noisy else nullcontext():
        cutout = _decode(data, "JPEG", options, object_id, path)
    return cutout if frame is None else replace(cutout, frame=frame)


def _decode(
    data: bytes, format_name: str, options: ReadOptions, object_id: str, path: str
) -> Cutout:
    try:
        image = _open_image(data, format_name, options, path)
        size = image.size
        check_size(size, len(image.getbands()), options, path)
        if format_name == "TIFF" and _is_deep_colour(image):
            reason = ValueError("Pillow keeps 8 of the 16 bits of its colours")
            return _read_tiff_again(data, reason, options, object_id, path)
        if options.min_side is not None and format_name == "JPEG":
            image.draft(None, (options.min_side, options.min_side))
        cutout = cutout_from_pil(image, object_id=object_id, path=path)
    except (ImageError, MemoryError):
        raise
    # A damaged file may raise nearly anything inside a decoder; all of it means the same.
    except Exception as error:
        if format_name == "TIFF" and "mode" in str(error):  # "unknown pixel mode"
            return _read_tiff_again(data, error, options, object_id, path)
        raise _unreadable(format_name, error, path) from error
    if cutout.array.shape[2] == size[0]:
        return cutout
    factor = round(size[0] / cutout.array.shape[2])
    return replace(cutout, notes={**cutout.notes, "reduced": str(factor)})


def _is_deep_colour(image: Image) -> bool:
    """Whether a TIFF has several samples per pixel of more than 8 bits each."""
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, ())
    return isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8


def _open_image(data: bytes, format_name: str, options: ReadOptions, path: str) -> Image:
    # The plugin's own class: Image.open would try several formats and warn about large images,
    # whose size is checked here anyway.
    stream = io.BytesIO(data)
    if format_name == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(stream)
    if format_name == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(stream)
    if format_name == "TIFF":
        from PIL.TiffImagePlugin import TiffImageFile

        from galmorph.images.tiff import drop_orientation

        return TiffImageFile(io.BytesIO(drop_orientation(data)))
    from PIL.WebPImagePlugin import WebPImageFile

    check_size(_find_webp_size(data), 4, options, path)  # its decoder allocates when opened
    return WebPImageFile(stream)


def _find_webp_size(data: bytes) -> tuple[int, int]:
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ValueError("the header is cut short")
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    packed = int.from_bytes(body[6:10], "little")
    return packed & 0x3FFF, packed >> 16 & 0x3FFF


def check_size(size: tuple[int, int], planes: int, options: ReadOptions, path: str) -> None:
    """Refuse an empty image, and one of more pixels than `options.max_pixels`."""
    if size[0] < 1 or size[1] < 1:
        raise UnreadableImageError(f"the image is empty ({size[0]} x {size[1]})", path)
    if size[0] * size[1] * planes > options.max_pixels:
        raise ImageTooLargeError(
            f"{size[0]} x {size[1]} pixels in {planes} channels are more than max_pixels = "
            f"{options.max_pixels}; cut the galaxy out first, or raise the bound",
            path,
        )


def cutout_from_pil(image: Image, *, object_id: str = "", path: str = "") -> Cutout:
    """Make a cutout of a PIL image of any mode.

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded or not.
    object_id, path : str
        Carried into the cutout.

    Returns
    -------
    Cutout
        Transparent pixels are laid on black; grey is repeated in three channels and flagged.
    """
    mode = image.mode
    if "transparency" in image.info and mode in ("L", "RGB"):
        return _converted_cutout(image, object_id, path)
    if mode == "RGB":
        image.load()
        return Cutout(share_pixels(image), object_id=object_id, path=path)
    if mode in ("L", "1"):
        return _grey_cutout(np.asarray(image.convert("L")), object_id, path)
    if mode == "F" or mode.startswith("I"):
        return _deep_cutout(np.asarray(image), object_id, path)
    return _converted_cutout(image, object_id, path)


def _converted_cutout(image: Image, object_id: str, path: str) -> Cutout:
    notes = {"mode": image.mode}
    grey = image.mode in ("L", "LA", "La")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        pixels = lay_on_black(np.asarray(image.convert("RGBA")))
        notes["alpha"] = "laid on black"
    else:
        pixels = np.asarray(image.convert("RGB"))
    if grey:
        return _grey_cutout(pixels[:, :, 0], object_id, path)
    return Cutout(pixels.transpose(2, 0, 1), object_id=object_id, path=path, notes=notes)


def _grey_cutout(plane: Array, object_id: str, path: str) -> Cutout:
    array = np.broadcast_to(plane, (3, *plane.shape))
    flags = Flags.OUTSIDE_COLOUR_DOMAIN
    return Cutout(array, object_id=object_id, path=path, flags=flags, notes={"mode": "grey"})


def _deep_cutout(plane: Array, object_id: str, path: str) -> Cutout:
    if plane.dtype.kind in "iu":
        if plane.min() >= 0 and plane.max() <= 65535:
            return _grey_cutout(plane.astype(np.float32) / np.float32(65535), object_id, path)
        return _flux_cutout(plane, object_id, path)
    finite = plane[np.isfinite(plane)]
    if finite.size and finite.min() >= 0 and finite.max() <= 1:
        return _grey_cutout(plane.astype(np.float32), object_id, path)
    return _flux_cutout(plane, object_id, path)


def _flux_cutout(plane: Array, object_id: str, path: str) -> Cutout:
    array = plane.astype(np.float32)[None]
    return Cutout(array, ("unknown",), "flux", object_id=object_id, path=path)


def _read_tiff_again(
    data: bytes, error: Exception, options: ReadOptions, object_id: str, path: str
) -> Cutout:
    from galmorph.images.tiff import read_tiff

    return read_tiff(data, error, options=options, object_id=object_id, path=path)


def _unreadable(format_name: str, error: Exception, path: str) -> UnreadableImageError:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return UnreadableImageError(f"the {format_name} is damaged or cut short ({said})", path)
