"""How large the image of an HDU is, and its tiles, before any of them is unpacked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from galmorph.errors import ImageTooLargeError, UnreadableImageError
from galmorph.images.compressed import DEFLATE_RATIO, decompress
from galmorph.images.source import Region
from galmorph.settings import ReadOptions

MAX_TILES = 50_000
"""Tiles of a compressed image, which are unpacked one by one."""

GZIP_COLUMNS = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA")
"""The second holds the tiles that another method could not pack."""


def _check_gzip(hdu: Any, limit: int) -> None:
    """Unpack tiles that are large enough for a bomb; `ImageTooLargeError` beyond the limit."""
    info, packed = hdu.fileinfo(), hdu.compressed_data
    if info is None or packed is None:  # in memory, where no stranger has packed it
        return
    start = 0 if str(getattr(hdu, "compression_type", "")).startswith("GZIP") else 1
    for name in GZIP_COLUMNS[start:]:
        if name not in packed.names:
            continue
        heap = info["datLoc"] + packed.dtype.itemsize * len(packed)
        places = np.asarray(packed[name], dtype=np.int64)
        for length, offset in places[places[:, 0] > limit // DEFLATE_RATIO].tolist():
            info["file"].seek(heap + offset)
            limit -= len(decompress(info["file"].read(length), "gzip", limit=limit))


def check_shape(
    hdu: Any, count: int, options: ReadOptions, region: Region | None
) -> tuple[int, ...]:
    """Check what the header claims before any pixel is touched."""
    shape = tuple(int(n) for n in hdu.shape)
    if min(shape) < 1:
        sides = " x ".join(map(str, shape[::-1]))
        raise UnreadableImageError(f"the image is empty (NAXIS {sides})")
    pixels = math.prod(shape) * count
    if region is not None:
        return shape
    check_tiles(hdu, shape, options)
    if pixels > options.max_pixels:
        raise ImageTooLargeError(
            f"NAXIS {' x '.join(str(n) for n in shape[::-1])} is more than max_pixels = "
            f"{options.max_pixels}; cut the galaxy out (center and fov, or --mosaic with a "
            "catalogue), or raise the bound"
        )
    return shape


def check_tiles(hdu: Any, shape: tuple[int, ...], options: ReadOptions) -> None:
    """Bound the tiles of a compressed image that must be unpacked for a part of that shape."""
    tile = tuple(int(n) for n in getattr(hdu, "tile_shape", None) or ())
    if not tile:
        return
    if min(tile) < 1 or math.prod(tile) > options.max_pixels:
        raise ImageTooLargeError(f"tiles of {math.prod(tile)} pixels are beyond max_pixels")
    tiles = math.prod(-(-n // t) for n, t in zip(shape, tile, strict=False))
    if tiles > MAX_TILES:
        raise ImageTooLargeError(f"{tiles} tiles are more than {MAX_TILES}")
    _check_gzip(hdu, options.max_bytes)
