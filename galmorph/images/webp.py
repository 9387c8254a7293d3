"""WebP, by Pillow, whose decoder asks for memory before it says how large the image is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from galmorph.images import pillow
from galmorph.images.cutout import Cutout
from galmorph.settings import ReadOptions

if TYPE_CHECKING:
    from PIL.Image import Image


def read(data: bytes, options: ReadOptions) -> Cutout:
    """Decode a file, of animations the first picture."""

    def open_image(stream: io.BytesIO) -> Image:
        from PIL.WebPImagePlugin import WebPImageFile

        pillow.check_size(_find_size(data), 4, options)
        return WebPImageFile(stream)

    return pillow.decode(data, open_image, "WEBP", options)


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
