"""Ordinary tile-compressed FITS images (Rice, row by row): of astropy only the decoders."""

import math
import re
from typing import Any

import numpy as np

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
TYPES = {"P": (">i4", (2,)), "D": (">f8", ())}
NO_DITHER = -1  # as astropy numbers the ways of quantizing
DITHERS = {"NO_DITHER": NO_DITHER, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
MAX_PIXELS, MAX_TILES = 4_000_000, 20_000  # of larger ones astropy unpacks a part alone


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
        fields.append((name, *TYPES["P" if "P" in form else "D"]))
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
