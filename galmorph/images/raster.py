"""The raster formats: how each is told by its first bytes, and what decodes it."""

import importlib
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from galmorph.errors import UnreadableImageError
from galmorph.flags import Flags
from galmorph.images.cutout import Array, Cutout, lay_on_black
from galmorph.images.library import check_pixels, quiet, reading
from galmorph.settings import ReadOptions


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
