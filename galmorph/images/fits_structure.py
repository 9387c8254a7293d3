"""A walk over the headers of a FITS file ahead of astropy, which believes what they say."""

from __future__ import annotations

from typing import BinaryIO

from galmorph.errors import UnreadableImageError

__all__ = ["check_structure"]

BLOCK = 2880
CARD = 80
END_CARD = b"END     "
MAX_HEADER_BLOCKS = 1456
"""4 MiB of header in one HDU; the largest real ones hold a few thousand cards, 0.3 MiB."""

MAX_HDUS = 256
MAX_COUNT = 999
"""Most axes and most table columns that the standard allows (FITS 4.0, 4.4.1.1 and 7.3.1)."""

COUNT_KEYS = (b"NAXIS   ", b"ZNAXIS  ", b"TFIELDS ")
SIZE_KEYS = (b"BITPIX  ", b"PCOUNT  ", b"GCOUNT  ")


def check_structure(stream: BinaryIO, path: str) -> None:
    """Refuse headers that would keep astropy busy for minutes.

    Parameters
    ----------
    stream : binary file
        At the start of the file.
    path : str
        For messages.

    Raises
    ------
    UnreadableImageError
        No END card, or more axes or columns than the standard allows.
    """
    position = 0
    for number in range(MAX_HDUS):
        stream.seek(position)
        header = _read_header(stream)
        if not header:
            if number == 0:
                raise UnreadableImageError("the FITS header has no END card", path)
            return
        size = _check_header(header, path)
        if size is None:  # a card without a number: astropy will say so
            return
        position += len(header) + -(-size // BLOCK) * BLOCK


def _read_header(stream: BinaryIO) -> bytes:
    """Blocks up to the END card; empty where there is none."""
    header = bytearray()
    for _ in range(MAX_HEADER_BLOCKS):
        block = stream.read(BLOCK)
        if not block:
            return b""
        header += block
        start = block.find(END_CARD)
        while start >= 0 and start % CARD:
            start = block.find(END_CARD, start + 1)
        if start >= 0:
            return bytes(header)
    return b""


def _check_header(header: bytes, path: str) -> int | None:
    """Size of the data that follow, in bytes; None where the header does not say."""
    axes: list[int] = []
    sizes = {b"BITPIX  ": 8, b"PCOUNT  ": 0, b"GCOUNT  ": 1}
    for start in range(0, len(header), CARD):
        key = header[start : start + 8]
        if key == END_CARD:
            break
        if not (key in COUNT_KEYS or key in SIZE_KEYS or key.startswith(b"NAXIS")):
            continue
        value = _read_integer(header[start + 10 : start + CARD])
        if value is None:
            return None
        if key in COUNT_KEYS:
            _check_count(key, value, path)
        elif key in sizes:
            sizes[key] = value
        else:
            axes.append(value)
    pixels = 1 if axes else 0
    for length in axes:
        pixels *= max(length, 0)
    total = abs(sizes[b"BITPIX  "]) // 8 * sizes[b"GCOUNT  "] * (sizes[b"PCOUNT  "] + pixels)
    return max(total, 0)


def _read_integer(field: bytes) -> int | None:
    try:
        return int(float(field.partition(b"/")[0]))
    except (ValueError, OverflowError):
        return None


def _check_count(key: bytes, value: int, path: str) -> None:
    if value > MAX_COUNT:
        name = key.decode().strip()
        raise UnreadableImageError(f"{name} = {value} is more than a FITS file may have", path)
