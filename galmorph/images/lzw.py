"""Files of the old Unix program compress (``.Z``), as archives of plates and observatories keep."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galmorph.errors import ImageTooLargeError, UnreadableImageError

LZW_MAGIC = b"\x1f\x9d"
HEADER_BYTES = 3
FIRST_WIDTH, LAST_WIDTH = 9, 16
CLEAR = 256
GROUP = 8
"""Codes of one width come in groups of so many, of which the last may be cut off."""

GROUPS_AT_ONCE = 4096


def unpack_lzw(data: bytes, *, limit: int) -> bytes:
    """Unpack a whole file."""
    last, clears = data[2] & 31 if len(data) > HEADER_BYTES else 0, bool(data[2:3] >= b"\x80")
    if not FIRST_WIDTH <= last <= LAST_WIDTH:
        raise UnreadableImageError("the compress stream is damaged")
    first = [bytes([n]) for n in range(256)] + [b""] * clears
    table, previous, width, at = list(first), b"", FIRST_WIDTH, HEADER_BYTES
    parts: list[bytes] = []
    while at < len(data):
        missing = (1 << width) - len(table) + (not previous) if width < last else 1 << 30
        groups = min(-(-missing // GROUP), GROUPS_AT_ONCE)
        codes = _split(data[at : at + groups * width], width)[:missing]
        ends = np.flatnonzero(codes == CLEAR) if clears else codes[:0]
        count = int(ends[0]) if ends.size else len(codes)
        for code in codes[:count].tolist():
            if code < len(table):
                entry = table[code]
            elif code == len(table) and previous:
                entry = previous + previous[:1]
            else:
                raise UnreadableImageError("the compress stream is damaged")
            if previous and len(table) < 1 << last:
                table.append(previous + entry[:1])
            parts.append(entry)
            limit -= len(entry)
            previous = entry
        if limit < 0:
            raise ImageTooLargeError("more bytes than max_pixels allows for")
        if ends.size:
            at += (count // GROUP + 1) * width
            table, previous, width = list(first), b"", FIRST_WIDTH
        else:
            at += groups * width
            width += width < last and len(codes) == missing
    return b"".join(parts)


def _split(data: bytes, width: int) -> npt.NDArray[np.int64]:
    """Codes of that many bits, the lowest first."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    count = len(bits) // width
    return bits[: count * width].reshape(count, width) @ (1 << np.arange(width))
