"""The bytes of one image to a cutout; the first of them decide the format, never a suffix."""

import importlib
import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.flags import Flags
from galmorph.images.compressed import LZW_MAGIC, decompress, find_method, unpack_lzw
from galmorph.images.cutout import Array, Cutout, lay_on_black
from galmorph.images.library import check_pixels, quiet, reading
from galmorph.images.source import FITS_MAGIC, TABLE_ADVICE
from galmorph.settings import ReadOptions

NOT_READ = "which is not read; save it as PNG or FITS"
LFS_POINTER = b"version https://git-lfs"
OTHER_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file; name the data set, as in file.h5::images",
    b"PK\x03\x04": "a zip archive; it must be named *.zip, or *.npz where it is a stack",
    b"\x93NUMPY": "a numpy file; a stack must be named *.npy",
    b"PAR1": "a Parquet file; it must be named *.parquet",
    b"GIF8": "a GIF, which has too few colours; save it as PNG from the original",
    b"BM": "a BMP; save it as PNG",
    b"#ASDF": "an ASDF file; it must be named *.asdf",
    b"\0\0\0\x0cjP  ": f"a JPEG 2000 image, {NOT_READ}",
    b"\xff\x4f\xff\x51": f"a JPEG 2000 image, {NOT_READ}",
    LFS_POINTER: "a Git LFS pointer, not the file; get that with git lfs pull",
    b"%PDF": "a PDF; save the image in it as PNG or FITS",
    b"/annex/objects/": "a git-annex pointer, not the file; get that with git annex get",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!\x1a\x07": "a RAR archive; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it",
    b"\0\0\0\x0cJXL ": f"a JPEG XL image, {NOT_READ}",
    b"\xff\x0a": f"a JPEG XL image, {NOT_READ}",
    b"P5\n": f"a PGM image, {NOT_READ}",
    b"P6\n": f"a PPM image, {NOT_READ}",
    b"<svg": "a drawing in SVG; save it as PNG",
}
WEB_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|title|body)\b",
    re.IGNORECASE | re.DOTALL,
)
ANSWER = re.compile(rb"\s*(?:<\?xml|\{\s*\")", re.IGNORECASE)
TEXT = re.compile(rb"[\t\n\r -~]+")
STATUS = re.compile(rb"<title>\s*([1-5][0-9]{2}(?: [a-z]{1,20}){1,4})\s*</title>", re.IGNORECASE)
"""Of a server's error page: all that is shown of a file that is no image."""

TEXT_START = 2048
MAX_LZW_BYTES = 32 << 20  # out of a file of compress, which is unpacked in Python


def decode_image(data: bytes, options: ReadOptions) -> Cutout:
    """Decode a raster image or a FITS file, in gzip, bzip2, xz or compress as well."""
    if cutout := _decode(data, options):
        return cutout
    if method := find_method(data):
        data = decompress(data, method, limit=options.max_bytes)
    elif data.startswith(LZW_MAGIC):
        data = unpack_lzw(data, limit=min(options.max_bytes, MAX_LZW_BYTES))
    if (cutout := _decode(data, options)) is None:
        raise _refuse(data)
    return cutout


def _decode(data: bytes, options: ReadOptions) -> Cutout | None:
    if raster := sniff_raster(data):
        return read_raster(data, raster, options)
    if data.startswith(FITS_MAGIC):
        from galmorph.images.fits import read_fits

        return read_fits(data, options)
    return None


def _refuse(data: bytes) -> Exception:
    for magic, advice in OTHER_MAGIC.items():
        if data.startswith(magic):
            return UnsupportedImageError(f"this is {advice}")
    if answer := find_answer(data):
        return UnsupportedImageError(answer)
    if data[4:8] == b"ftyp":
        return UnsupportedImageError(f"this is a HEIC or AVIF image, {NOT_READ}")
    if data[257:262] == b"ustar":
        return UnsupportedImageError("this is a tar file; it must be named *.tar")
    if not data.strip(b"\0"):
        reason = "it holds zeros alone, as of a download that was cut short; download it again"
        return UnreadableImageError(reason)
    reason = "not an image: its bytes are none of JPEG, PNG, TIFF, WebP, FITS"
    if TEXT.fullmatch(data, 0, TEXT_START):
        reason += f"; it is a text: the answer of a server, or {TABLE_ADVICE}"
    return UnreadableImageError(reason)


def find_answer(data: bytes) -> str:
    """What is to be said of a server's answer in place of a file; "" for what is none."""
    if data.startswith(LFS_POINTER):
        return f"this is {OTHER_MAGIC[LFS_POINTER]}"
    if WEB_PAGE.match(data, 0, TEXT_START):
        found = STATUS.search(data, 0, TEXT_START)
        status = f" ({found[1].decode()})" if found else ""
        return f"this is a web page{status}; download the file again"
    if ANSWER.match(data, 0, TEXT_START):
        return f"this is a text in XML or JSON: an error of a server, or {TABLE_ADVICE}"
    return ""


def decode(
    data: bytes,
    open_image: Callable[[io.BytesIO], Any],
    name: str,
    options: ReadOptions,
    to_cutout: Callable[[Any], Cutout] | None = None,
) -> Cutout:
    """Decode by the plugin of one format; the size is checked first."""
    damaged = f"the {name} is damaged or cut short, or of a rare kind that is not read"
    with reading(damaged), quiet():  # Pillow warns of tags, which say nothing of the pixels
        image = open_image(io.BytesIO(data))
        check_size(image.size, len(image.getbands()), options)
        return (to_cutout or cutout_from_pil)(image)


def check_size(size: tuple[int, int], planes: int, options: ReadOptions) -> None:
    """Refuse an empty image, and one of more pixels than `options.max_pixels`."""
    if size[0] < 1 or size[1] < 1:
        raise UnreadableImageError(f"the image is empty ({size[0]} x {size[1]})")
    what = f"an image of {size[0]} x {size[1]} pixels in {planes} channels"
    check_pixels(size[0] * size[1] * planes, what, options)


def cutout_from_pil(image: Any) -> Cutout:
    """Cutout of an image of any mode; transparency is laid on black, grey is repeated, flagged."""
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        return _deep_cutout(np.asarray(image))
    see_through = "A" in mode or "a" in mode or "transparency" in image.info
    if see_through:
        pixels = lay_on_black(np.asarray(image.convert("RGBA")))
    elif mode in ("L", "1"):
        return grey_cutout(np.asarray(image.convert("L")))
    else:
        pixels = np.asarray(image if mode == "RGB" else image.convert("RGB"))
    if mode in ("1", "L", "LA", "La"):
        return grey_cutout(pixels[:, :, 0])
    notes = {} if mode == "RGB" and not see_through else {"mode": mode}
    notes |= {"alpha": "laid on black"} if see_through else {}
    return Cutout(pixels.transpose(2, 0, 1), notes=notes)


def grey_cutout(plane: Array) -> Cutout:
    """One plane (y, x) as three."""
    array = np.broadcast_to(plane, (3, *plane.shape))
    return Cutout(array, flags=Flags.OUTSIDE_COLOUR_DOMAIN, notes={"mode": "grey"})


def _deep_cutout(plane: Array) -> Cutout:
    whole = plane.dtype.kind in "iu"
    finite, values = plane[np.isfinite(plane)], plane.astype(np.float32)
    if finite.size == 0 and not whole:
        return Cutout(values[None], ("unknown",), "flux")
    top = 65535 if whole else 1
    if finite.min() >= 0 and finite.max() <= top:
        return grey_cutout(values / np.float32(top))
    return Cutout(values[None], ("unknown",), "flux")


def read_png(data: bytes, options: ReadOptions) -> Cutout:
    """Decode a PNG."""
    from PIL.PngImagePlugin import PngImageFile

    return decode(data, PngImageFile, "PNG", options)


def read_webp(data: bytes, options: ReadOptions) -> Cutout:
    """Decode a WebP's first picture; its size is read here, before Pillow asks for memory."""

    def open_image(stream: io.BytesIO) -> Any:
        from PIL.WebPImagePlugin import WebPImageFile

        check_size(_find_size(data), 4, options)
        return WebPImageFile(stream)

    return decode(data, open_image, "WEBP", options)


def _find_size(data: bytes) -> tuple[int, int]:
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


class Raster(NamedTuple):
    """A format, and what reads it, ``module.function`` of this package."""

    name: str
    reader: str
    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    brand: bytes = b""  # what stands at byte 8


RASTERS = (
    Raster("JPEG", "jpeg.read", (".jpg", ".jpeg"), (b"\xff\xd8\xff",)),
    Raster("PNG", "raster.read_png", (".png",), (b"\x89PNG\r\n\x1a\n",)),
    Raster("TIFF", "tiff.read", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    Raster("WEBP", "raster.read_webp", (".webp",), (b"RIFF",), brand=b"WEBP"),
)
RASTER_SUFFIXES = tuple(suffix for raster in RASTERS for suffix in raster.suffixes)


def sniff_raster(head: bytes) -> str:
    """Name of the raster format that the first bytes announce, "" for none."""
    found = (r for r in RASTERS if head.startswith(r.magic) and head.startswith(r.brand, 8))
    return next((raster.name for raster in found), "")


def read_raster(data: bytes, name: str, options: ReadOptions) -> Cutout:
    """Decode a raster image, (3, y, x), whatever EXIF says of up: the sky has no upright."""
    module, function = next(r.reader for r in RASTERS if r.name == name).split(".")
    read = getattr(importlib.import_module(f"galmorph.images.{module}"), function)
    cutout: Cutout = read(data, options)
    return cutout
