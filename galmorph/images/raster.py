"""The raster formats: how each is told by its first bytes, and the module that decodes it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from galmorph.images.cutout import Cutout
from galmorph.settings import ReadOptions


@dataclass(frozen=True, slots=True)
class Raster:
    """A format. Its module in this package has ``read(data, options)``."""

    name: str
    module: str
    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    brand: bytes = b""
    """What stands at byte 8."""


RASTERS = (
    Raster("JPEG", "jpeg", (".jpg", ".jpeg"), (b"\xff\xd8\xff",)),
    Raster("PNG", "png", (".png",), (b"\x89PNG\r\n\x1a\n",)),
    Raster("TIFF", "tiff", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    Raster("WEBP", "webp", (".webp",), (b"RIFF",), brand=b"WEBP"),
)
RASTER_SUFFIXES = tuple(suffix for raster in RASTERS for suffix in raster.suffixes)


def sniff_raster(head: bytes) -> str:
    """Name of the raster format that the first bytes announce, "" for none."""
    for raster in RASTERS:
        if head.startswith(raster.magic) and head.startswith(raster.brand, 8):
            return raster.name
    return ""


def read_raster(data: bytes, name: str, options: ReadOptions) -> Cutout:
    """Decode a raster image, (3, y, x), or flux where a TIFF holds floats outside [0, 1].

    An EXIF orientation is ignored on purpose: it tells how a camera was held, and the sky has no
    upright.
    """
    module = next(raster.module for raster in RASTERS if raster.name == name)
    read: Callable[[bytes, ReadOptions], Cutout] = importlib.import_module(
        f"galmorph.images.{module}"
    ).read
    return read(data, options)
