"""Ordinary FITS files without astropy, which takes ten times as long and is left all others.

Images in Rice tiles, row by row, take the decoders of astropy alone.
"""

import math
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

BLOCK = 2880
CARD = 80
END_CARD = b"END     "
MAX_BLOCKS = 64  # of a header: some 2,300 cards
MAX_HDUS = 64
SMALL_BYTES = 1 << 22  # files up to this are read whole: mapping takes longer
TYPES = {8: "u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}

VALUE = re.compile(
    r"= *(?:'(?P<text>(?:[^']|'')*)'|(?P<flag>[TF])|(?P<whole>[+-]?\d+)|"
    r"(?P<real>[+-]?(?:\d+\.\d*|\.\d+)(?:[ED][+-]?\d+)?|[+-]?\d+[ED][+-]?\d+)) *(?:/.*)?"
)
KEY = re.compile(r"[A-Z0-9_-]+ *")
COMMENTARY = ("", "COMMENT", "HISTORY")
RECORD = re.compile(r"[^:]*: *[+-]?[\d.]")  # what astropy may take for a record
_ELSEWHERE = ("CPDIS1", "CPDIS2", "D2IMDIS1", "D2IMDIS2")  # read from other HDUs
UNUSUAL = {"BLANK", "BSCALE", "BZERO", "GROUPS", "CONTINUE", "HIERARCH", "UNREAD", *_ELSEWHERE}
TABLE_CARD = re.compile(  # of the table, and not of the image in it
    r"XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|T(?:TYPE|FORM|UNIT|DISP)\d+|THEAP|CHECKSUM|"
    r"DATASUM|Z(?:IMAGE|TENSION|SIMPLE|EXTEND|BLOCKED|PCOUNT|GCOUNT|HECKSUM|DATASUM|CMPTYPE|"
    r"BITPIX|QUANTIZ|DITHER0|BLANK|(?:NAXIS|TILE|NAME|VAL)\d*)"
)
COLUMN_FORMS = {
    "COMPRESSED_DATA": re.compile(r"1?PB(?:\(\d*\))?"),
    "GZIP_COMPRESSED_DATA": re.compile(r"1?PB(?:\(\d*\))?"),
    "ZSCALE": re.compile(r"1?D"),
    "ZZERO": re.compile(r"1?D"),
}
FIELD_TYPES = {"P": (">i4", (2,)), "D": (">f8", ())}
NO_DITHER = -1  # as astropy numbers the ways of quantizing
DITHERS = {"NO_DITHER": NO_DITHER, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
MAX_PIXELS, MAX_TILES = 4_000_000, 20_000  # of larger ones astropy unpacks a part alone


class PlainHeader(dict[str, Any]):
    """What the readers use of `astropy.io.fits.Header`."""

    @property
    def cards(self) -> Iterator[Any]:
        """Cards with values, in order."""
        return (SimpleNamespace(keyword=key, value=value) for key, value in self.items())


class PlainHdu:
    """What the readers use of an image HDU; its pixels stay where they are."""

    is_image = True

    def __init__(
        self, header: Mapping[str, Any], data: Any, name: str, *, is_rounded: bool = False
    ) -> None:
        self.header, self.section, self.name = PlainHeader(header), data, name
        self.shape = () if data is None else data.shape
        self.is_rounded = is_rounded  # by the compression

    @property
    def data(self) -> Any:
        """Pixels in the byte order of the file; None where there are none."""
        return self.section


class PlainHdus(list[PlainHdu]):
    """What the readers use of `astropy.io.fits.HDUList`."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, slice)):
            return super().__getitem__(key)
        name, version = key if isinstance(key, tuple) else (key, None)
        for hdu in self:
            found = hdu.name.upper() == str(name).strip().upper()
            if found and version in (None, hdu.header.get("EXTVER", 1)):
                return hdu
        raise KeyError(key)

    def close(self) -> None:
        """Nothing to do: the file is closed, and its map goes with the last array."""


def open_plain(file: str | bytes) -> PlainHdus | None:
    """HDUs of an ordinary file, by its path or its bytes; None where astropy is to read it."""
    try:
        if isinstance(file, bytes):
            return _read_hdus(memoryview(file))
        with open(file, "rb", buffering=0) as stream:
            small = os.fstat(stream.fileno()).st_size <= SMALL_BYTES
            raw = stream.read() if small else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            return _read_hdus(memoryview(raw))
    except Exception:  # unusual, or damaged in some way that astropy says better
        return None


def _read_hdus(raw: memoryview) -> PlainHdus:
    expect(len(raw) % BLOCK == 0)
    hdus, position = PlainHdus(), 0
    while position < len(raw):
        expect(len(hdus) < MAX_HDUS)
        header, position = _read_header(raw, position)
        if hdus and header.get("XTENSION") == "BINTABLE" and header.get("ZIMAGE") is True:
            image, pixels, is_rounded, size = read_tiles(header, raw, position)
            name = header.get("EXTNAME", "COMPRESSED_IMAGE")
            hdus.append(PlainHdu(image, pixels, name, is_rounded=is_rounded))
            position += -(-size // BLOCK) * BLOCK
            continue
        _check_order(header, primary=not hdus)
        dtype = TYPES[header["BITPIX"]]
        shape = tuple(header[f"NAXIS{n}"] for n in range(header["NAXIS"], 0, -1))
        count = math.prod(shape) if shape else 0
        size = count * np.dtype(dtype).itemsize
        end = position + -(-size // BLOCK) * BLOCK
        expect(end <= len(raw))
        data = np.frombuffer(raw, dtype, count, position).reshape(shape) if shape else None
        hdus.append(PlainHdu(header, data, header.get("EXTNAME", "" if hdus else "PRIMARY")))
        position = end
    return hdus


def read_header(raw: memoryview, position: int, most: int) -> bytes:
    """Blocks up to that of the END card, the last perhaps cut short; none without such a card."""
    header = b""
    for _ in range(most):
        start = position + len(header)
        block = bytes(raw[start : start + BLOCK])
        header += block
        end = block.find(END_CARD)
        while end >= 0 and end % CARD:
            end = block.find(END_CARD, end + 1)
        if end >= 0 or len(block) < BLOCK:
            return header if end >= 0 else b""
    return b""


def _read_header(raw: memoryview, position: int) -> tuple[dict[str, Any], int]:
    """Values of the cards up to END, after which there are blanks alone, and the place behind."""
    blocks = read_header(raw, position, MAX_BLOCKS)
    text, end, rest = blocks.decode("ascii").rpartition("END")
    expect(bool(end) and not rest.strip(" ") and not len(blocks) % BLOCK and not len(text) % CARD)
    expect(text.isprintable() and bool(text))
    header: dict[str, Any] = {}
    for start in range(0, len(text), CARD):
        card = text[start : start + CARD]
        key = card[:8].rstrip()
        if key in COMMENTARY:
            continue
        expect(key not in header and key not in UNUSUAL)
        header[key] = _parse_value(card)
    return header, position + len(blocks)


@lru_cache(maxsize=1024)  # most cards are those of the file before
def _parse_value(card: str) -> Any:
    found = VALUE.fullmatch(card, 8)
    if found is None or card[9] != " " or not KEY.fullmatch(card, 0, 8):
        raise ValueError("unusual")
    kind, value = found.lastgroup, found[found.lastgroup or 0]
    if kind == "whole":
        return int(value)
    if kind == "real":
        return float(value.replace("D", "E"))
    if kind == "flag":
        return value == "T"
    expect(not (value.rstrip().endswith("&") or RECORD.match(value)))
    return value.replace("''", "'").rstrip()


def _check_order(header: dict[str, Any], *, primary: bool) -> None:
    """Refuse all but an image whose sizes stand where they belong."""
    keys, axes = list(header), header.get("NAXIS")
    if type(axes) is not int or axes not in (0, 2, 3) or header.get("BITPIX") not in TYPES:
        raise ValueError("unusual")
    sizes = [f"NAXIS{n}" for n in range(1, axes + 1)]
    first = ["SIMPLE" if primary else "XTENSION", "BITPIX", "NAXIS", *sizes]
    if not primary:
        first += ["PCOUNT", "GCOUNT"]
    right = header.get("SIMPLE") is True if primary else header.get("XTENSION") == "IMAGE"
    name = header.get("EXTNAME", "")
    whole = all(type(header.get(key)) is int and header[key] >= 1 for key in sizes)
    none = header.get("PCOUNT", 0) == 0 and header.get("GCOUNT", 1) == 1
    plain = isinstance(name, str) and name == name.upper() and "ZIMAGE" not in header
    expect(keys[: len(first)] == first and f"NAXIS{axes + 1}" not in header)
    expect(right and whole and none and plain)


def expect(usual: bool) -> None:
    """Leave to astropy what is not."""
    if not usual:
        raise ValueError("unusual")


def read_tiles(cards: Any, raw: memoryview, position: int) -> tuple[dict[str, Any], Any, bool, int]:
    """Header and pixels of the image in a table whose rows begin at a place; its bytes.

    And whether its floats were rounded to steps, without noise.
    """
    shape = tuple(cards.get(f"ZNAXIS{n}", 0) for n in range(cards.get("ZNAXIS", 0), 0, -1))
    numbers = [*shape, *(cards.get(key, -1) for key in ("NAXIS1", "NAXIS2", "PCOUNT", "TFIELDS"))]
    expect(all(type(n) is int and n >= 0 for n in numbers) and len(shape) in (2, 3))
    rows, count, heap, _ = numbers[-4:]
    settings = {cards.get(f"ZNAME{n}"): cards.get(f"ZVAL{n}") for n in (1, 2)}
    quantized, blank = cards.get("ZBITPIX") == -32, cards.get("ZBLANK")
    expect(
        cards.get("ZCMPTYPE") == "RICE_1"
        and (quantized or cards.get("ZBITPIX") in (8, 16, 32))
        and settings == {"BLOCKSIZE": 32, "BYTEPIX": abs(cards["ZBITPIX"]) // 8}
        and cards.get("THEAP", rows * count) == rows * count
        and cards.get("GCOUNT") == 1
        and (quantized or blank is None)
        and type(blank) in (int, type(None))
        and [cards.get(f"ZTILE{n}") for n in range(1, len(shape) + 1)]
        == [shape[-1], *[1] * (len(shape) - 1)]
    )
    expect(math.prod(shape) <= MAX_PIXELS and 0 < count <= MAX_TILES)
    expect(count * shape[-1] == math.prod(shape) and position + rows * count + heap <= len(raw))
    table = np.frombuffer(raw, _find_columns(cards, rows, quantized), count, position)
    tiles = _unpack(table, raw[position + rows * count :][:heap], cards, shape[-1])
    dither: int | None = None
    if quantized:
        dither = DITHERS.get(cards.get("ZQUANTIZ", "NO_DITHER"))
        tiles = _scale(tiles, table, dither, cards.get("ZDITHER0", 0), blank)
    header = {"XTENSION": "IMAGE", "BITPIX": cards["ZBITPIX"], "NAXIS": len(shape)}
    header |= {f"NAXIS{n}": length for n, length in enumerate(shape[::-1], 1)}
    header |= {"PCOUNT": 0, "GCOUNT": 1}
    header |= {key: value for key, value in cards.items() if not TABLE_CARD.fullmatch(key)}
    return header, tiles.reshape(shape), dither == NO_DITHER, rows * count + heap


def _find_columns(cards: Any, rows: int, quantized: bool) -> np.dtype[Any]:
    fields: list[tuple[Any, ...]] = []
    for n in range(1, cards["TFIELDS"] + 1):
        name, form = cards.get(f"TTYPE{n}"), cards.get(f"TFORM{n}")
        expect(name in COLUMN_FORMS and bool(COLUMN_FORMS[name].fullmatch(str(form))))
        fields.append((name, *FIELD_TYPES["P" if "P" in form else "D"]))
    names = {field[0] for field in fields}
    needed = {"COMPRESSED_DATA"} | ({"ZSCALE", "ZZERO"} if quantized else set())
    expect(len(names) == len(fields) and names - {"GZIP_COMPRESSED_DATA"} == needed)
    dtype = np.dtype(fields)
    expect(dtype.itemsize == rows)
    return dtype


def _unpack(table: Any, heap: memoryview, cards: Any, width: int) -> Any:
    """Whole numbers, a row for each tile."""
    from astropy.io.fits.hdu.compressed._compression import decompress_rice_1_c

    lengths, starts = table["COMPRESSED_DATA"].T.astype(np.int64)
    other = table["GZIP_COMPRESSED_DATA"] if "GZIP_COMPRESSED_DATA" in table.dtype.names else 0
    expect(bool((lengths >= 1).all() and (starts >= 0).all() and not np.any(other)))
    expect(bool((starts + lengths <= len(heap)).all()))
    size = abs(cards["ZBITPIX"]) // 8
    whole = heap.tobytes()
    parts = (
        decompress_rice_1_c(whole[start : start + length], 32, size, width)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    )
    return np.frombuffer(b"".join(parts), {1: "u1", 2: "i2", 4: "i4"}[size]).reshape(-1, width)


def _scale(tiles: Any, table: Any, dither: int | None, seed: Any, blank: int | None) -> Any:
    scale, zero = (table[name].astype(np.float64) for name in ("ZSCALE", "ZZERO"))
    if dither == NO_DITHER:
        scaled = (tiles * scale[:, None] + zero[:, None]).astype(np.float32)
    else:
        expect(dither is not None and type(seed) is int and 0 < seed <= 10_000)
        from astropy.io.fits.hdu.compressed._compression import unquantize_float_c

        raw = (
            unquantize_float_c(
                tile.tobytes(), row + seed, tile.size, s, z, dither, 0, 0, 0.0, tile.itemsize
            )
            for row, (tile, s, z) in enumerate(zip(tiles, scale, zero, strict=True))
        )
        scaled = np.frombuffer(b"".join(raw), np.float32).reshape(tiles.shape).copy()
    if blank is not None:
        scaled[tiles == blank] = np.nan
    return scaled
