"""JPEG bytes by simplejpeg, where it is installed and the file is of the usual kind.

It hands whole files to the decoder that Pillow hands rows to, libjpeg-turbo, and so gives the same
bytes with less around it. Whatever is not plain colour, or in any way damaged, is left to
Pillow, which says what is wrong with it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy.typing as npt

from galmorph.images.options import ReadOptions

__all__ = ["decode_usual_jpeg"]


def decode_usual_jpeg(data: bytes, options: ReadOptions) -> npt.NDArray[Any] | None:
    """Decode a JPEG of three colours at its full size.

    Parameters
    ----------
    data : bytes
        The whole file.
    options : ReadOptions
        `max_pixels` and `min_side` are used.

    Returns
    -------
    ndarray of uint8, shape (3, y, x), or None
        Not contiguous. None where simplejpeg is not installed, or the file is grey, CMYK, stored
        as RGB, larger than `max_pixels`, large enough to be reduced, cut short or damaged.
    """
    library = _import_simplejpeg()
    if library is None:
        return None
    try:
        height, width, colours, _ = library.decode_jpeg_header(data)
        if colours != "YCbCr" or not 0 < 3 * height * width <= options.max_pixels:
            return None
        if options.min_side is not None and min(height, width) >= 2 * options.min_side:
            return None
        # Four bytes per pixel: the layout that Pillow lends and that `shrink` copies row by row.
        pixels: npt.NDArray[Any] = library.decode_jpeg(data, colorspace="RGBX")
    except Exception:  # whatever it is, Pillow says it better
        return None
    return pixels[:, :, :3].transpose(2, 0, 1)


@cache
def _import_simplejpeg() -> Any:
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
