"""PNG, by Pillow."""

from __future__ import annotations

from galmorph.images import pillow
from galmorph.images.cutout import Cutout
from galmorph.settings import ReadOptions

__all__ = ["read"]


def read(data: bytes, options: ReadOptions, path: str) -> Cutout:
    """Decode a file."""
    from PIL.PngImagePlugin import PngImageFile

    return pillow.decode(data, PngImageFile, "PNG", options, path)
