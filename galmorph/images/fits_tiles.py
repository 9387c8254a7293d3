"""Tiles of compressed FITS images whose decoder has no bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from galmorph.images.compressed import DEFLATE_RATIO, decompress

GZIP_COLUMNS = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA")
"""The second holds the tiles that another method could not pack."""


def check_gzip_tiles(hdu: Any, limit: int) -> None:
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
