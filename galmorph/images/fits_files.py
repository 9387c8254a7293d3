"""FITS files as they are opened: cards, tiles, and what is said where they cannot be read."""

import io
import math
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from galmorph.errors import ImageTooLargeError, UnreadableImageError
from galmorph.images.compressed import DEFLATE_RATIO, decompress
from galmorph.images.fits_structure import UNREAD, check_structure, find_cut
from galmorph.images.library import check_pixels, quiet, reading
from galmorph.images.plain_fits import open_plain
from galmorph.images.source import Region
from galmorph.settings import ReadOptions

MAX_TILES = 50_000  # tiles of a compressed image, which are unpacked one by one
GZIP_COLUMNS = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA")  # the second for what would not pack
STRANGE_PIXELS = "the pixels of the FITS cannot be read: damaged, or not as its header says"
STRANGE_HEADER = "the header of the FITS is against the standard, so that it cannot be read"


class Cards(Mapping[str, Any]):
    """Cards of an HDU and of another one behind it; `unread` names those that cannot be read."""

    def __init__(self, header: Any, inherited: Mapping[str, Any] | None = None) -> None:
        self.header = header
        self.inherited = inherited or {}
        marks = header.count(UNREAD) if UNREAD in header else 0
        names = [str(header[UNREAD, n]).strip() for n in range(marks)]
        self.lost = {name: str(header.comments[UNREAD, n]) for n, name in enumerate(names)}
        self.unread = [name for name in names if name not in ("EXTVER", "EXTLEVEL")]

    def __getitem__(self, key: str) -> Any:
        try:
            value = self.header[key]
        except KeyError:
            return self.inherited[key]
        except Exception as error:  # of astropy's parser, of many kinds
            if key not in self.unread:
                self.unread.append(key)
            raise KeyError(key) from error
        if not isinstance(value, (str, int, float)):  # without a value
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """As of any mapping; most of the cards asked for are in no header."""
        if key not in self.header and key not in self.inherited:
            return default
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter({*self.header, *self.inherited})

    def __len__(self) -> int:
        return len(self.header)


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
    sides = " x ".join(map(str, shape[::-1]))
    if min(shape) < 1:
        raise UnreadableImageError(f"the image is empty (NAXIS {sides})")
    if region is None:
        check_tiles(hdu, shape, options)
        check_pixels(math.prod(shape) * count, f"NAXIS {sides}", options)
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


@contextmanager
def reading_fits(file: str | bytes | None = None) -> Iterator[None]:
    """Turn whatever astropy says about a damaged file into one kind of error, without warnings."""
    with quiet():
        try:
            with reading(STRANGE_HEADER):
                yield
        except UnreadableImageError as error:
            strange = error.reason in (STRANGE_HEADER, STRANGE_PIXELS)
            if strange and file is not None and (cut := find_cut(memoryview(_map(file)))):
                reason = f"the FITS is damaged or cut short: {cut}"
                raise UnreadableImageError(reason) from error
            raise


def _map(file: str | bytes) -> Any:
    """Bytes of a file, of which a copy is made in memory where they are written to."""
    if isinstance(file, bytes):
        return file
    with open(file, "rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)


def open_fits(file: str | bytes) -> Any:
    """Open a FITS file without reading more than its first header, an ordinary one by itself."""
    if (plain := open_plain(file)) is not None:
        return plain
    from astropy.io import fits

    raw = bytearray(file) if isinstance(file, bytes) else _map(file)
    patches = check_structure(memoryview(raw))
    for offset, card in patches.items():
        raw[offset : offset + len(card)] = card
    mended: Any = raw if patches else file
    opened = io.BytesIO(raw) if isinstance(file, bytes) else mended
    # memmap=None maps where it can: not where BZERO, BSCALE or BLANK are to be applied
    return fits.open(opened, memmap=None, lazy_load_hdus=True)
