"""Ordinary FITS files without astropy, which takes ten times as long and is left all others."""

import math
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from galmorph.images.fits_structure import BLOCK, CARD, read_header
from galmorph.images.plain_tiles import expect, read_tiles

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
