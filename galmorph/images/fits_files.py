"""FITS files as they are opened: cards, tiles, and what is said where they cannot be read.

Their headers are walked over ahead of astropy, which believes what they say.
"""

import io
import math
import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from galmorph.errors import ImageTooLargeError, UnreadableImageError
from galmorph.images.compressed import DEFLATE_RATIO, decompress
from galmorph.images.library import check_pixels, quiet, reading
from galmorph.images.plain_fits import BLOCK, CARD, END_CARD, open_plain, read_header
from galmorph.images.source import Region
from galmorph.settings import ReadOptions

MAX_TILES = 50_000  # tiles of a compressed image, which are unpacked one by one
GZIP_COLUMNS = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA")  # the second for what would not pack
STRANGE_PIXELS = "the pixels of the FITS cannot be read: damaged, or not as its header says"
STRANGE_HEADER = "the header of the FITS is against the standard, so that it cannot be read"
MAX_HEADER_BLOCKS = 1456  # 4 MiB; the largest real ones hold 0.3 MiB
MAX_HDUS = 256  # how far into a file an image is looked for
MAX_COUNT = 999  # of axes and table columns (FITS 4.0, 4.4.1.1 and 7.3.1)
UNREAD = "UNREAD"  # card in place of one: its name, and as comment what stood there
COUNT_KEYS = (b"NAXIS   ", b"ZNAXIS  ", b"TFIELDS ")
SIZE_KEYS = {b"BITPIX  ": 8, b"PCOUNT  ": 0, b"GCOUNT  ": 1}
WHOLE = re.compile(rb"[+-]?\d+")
NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EDed] ?[+-]?\d+)?")
OPTIONAL_KEYS = {  # without them an HDU can be read; None: text
    **dict.fromkeys((b"BSCALE  ", b"BZERO   "), NUMBER),
    **dict.fromkeys((b"BLANK   ", b"ZBLANK  ", b"EXTVER  ", b"EXTLEVEL"), WHOLE),
    **dict.fromkeys((b"EXTNAME ", b"XTENSION"), None),
}
CARD_VALUE = re.compile(rb" *(?:(?P<text>'(?:[^']|'')*')|(?P<bare>[^/]*)) *(?:/.*)?", re.DOTALL)


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


def check_structure(raw: memoryview) -> dict[int, bytes]:
    """Refuse headers that would keep astropy busy for minutes; cards to replace, by offset."""
    patches: dict[int, bytes] = {}
    seen = 0  # bytes of pixels
    try:
        for _, size in _walk(raw, patches):
            seen += size
    except _NoNumberError as error:
        if not seen:
            raise UnreadableImageError(f"{error}, so the image has no size") from None
    return patches


def find_cut(raw: memoryview) -> str:
    """Which HDU is not there as a whole, in words; "" where all are."""
    end = 0
    try:
        for number, (start, size) in enumerate(_walk(raw, {})):
            end = start + -(-size // BLOCK) * BLOCK
            if start + size > len(raw):
                return f"HDU {number} lacks {start + size - len(raw)} of {size} bytes"
    except (UnreadableImageError, _NoNumberError):
        return ""
    return "a header ends early" if end < len(raw) else ""


class _NoNumberError(Exception):
    """A size that cannot be read."""


def _walk(raw: memoryview, patches: dict[int, bytes]) -> Iterator[tuple[int, int]]:
    """Start and length of the data of each HDU, in bytes; what is to be mended is added."""
    position = 0
    for number in range(MAX_HDUS):
        header = read_header(raw, position, MAX_HEADER_BLOCKS)
        if not header:
            if number == 0:
                raise UnreadableImageError("the FITS header has no END card")
            return
        size = _check_header(header, position, patches)
        position += -(-len(header) // BLOCK) * BLOCK
        yield position, size
        position += -(-size // BLOCK) * BLOCK


def _check_header(header: bytes, position: int, patches: dict[int, bytes]) -> int:
    axes: list[int] = []
    sizes = dict(SIZE_KEYS)
    for start in range(0, len(header), CARD):
        key = header[start : start + 8]
        if key == END_CARD:
            break
        card = header[start : start + CARD]
        if key in OPTIONAL_KEYS:
            mended = _mend_card(key, card)
            if mended != card:
                patches[position + start] = mended
        elif key in COUNT_KEYS or key in sizes or key.startswith(b"NAXIS"):
            value = _read_integer(key, card)
            if key in COUNT_KEYS and value > MAX_COUNT:
                name = key.decode().strip()
                raise UnreadableImageError(f"{name} = {value} is more than a FITS file may have")
            if key in sizes:
                sizes[key] = value
            elif key not in COUNT_KEYS:
                axes.append(value)
    pixels = math.prod(max(length, 0) for length in axes) if axes else 0
    total = abs(sizes[b"BITPIX  "]) // 8 * sizes[b"GCOUNT  "] * (sizes[b"PCOUNT  "] + pixels)
    return max(total, 0)


def _find_value(card: bytes) -> bytes:
    """What stands there as value, with its quotes; b"" for none."""
    found = CARD_VALUE.match(card, 10)
    return (found["text"] or found["bare"]).strip() if found else b""


def _make_card(key: bytes, value: bytes, comment: bytes = b"") -> bytes:
    said = b" / " + comment if comment else b""
    return (key + b"= " + value + said)[:CARD].ljust(CARD)


def _mend_card(key: bytes, card: bytes) -> bytes:
    """The same card where its value is what it must be."""
    value, form = _find_value(card), OPTIONAL_KEYS[key]
    inner = value[1:-1].strip() if value.startswith(b"'") else value
    if form is None:
        return card if value.startswith(b"'") or not inner else _make_card(key, b"'%s'" % inner)
    if form is WHOLE and re.fullmatch(rb"[+-]?\d+\.0*", inner):
        inner = inner.partition(b".")[0]
    if not form.fullmatch(inner):
        return _make_card(UNREAD.encode().ljust(8), b"'%s'" % key, inner.replace(b"'", b"")[:40])
    return card if inner == value else _make_card(key, inner.rjust(20))


def _read_integer(key: bytes, card: bytes) -> int:
    value = _find_value(card)
    if not WHOLE.fullmatch(value):
        shown = f"{key.decode('ascii', 'replace').strip()} = {value.decode('ascii', 'replace')}"
        raise _NoNumberError(f"{shown} is no whole number")
    return int(value)
