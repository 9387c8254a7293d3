"""PNG, by Pillow."""

from __future__ import annotations

from galmorph.images import pillow
from galmorph.images.cutout import Cutout
from galmorph.settings import ReadOptions


def read(data: bytes, options: ReadOptions) -> Cutout:
    """Decode a file."""
    from PIL.PngImagePlugin import PngImageFile

    return pillow.decode(data, PngImageFile, "PNG", options)
