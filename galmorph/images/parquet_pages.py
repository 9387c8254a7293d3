"""Sizes of Parquet pages from their headers, which say how much memory a reader will ask for.

A page header is a struct in Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md): field 2 is the
size of the page when unpacked, field 3 its size in the file.
"""

from __future__ import annotations

import os

from galmorph.errors import ImageTooLargeError

USUAL_HEADER_BYTES = 512
MAX_HEADER_BYTES = 1 << 17
USUAL_RATIO = 4
"""By which pages of images are packed at most; a smaller page may be packed by more."""

STOP, INTEGERS, BINARY, STRUCT = 0, (3, 4, 5, 6), 8, 12
FLAGS = (1, 2)


def find_largest_page(descriptor: int, start: int, size: int, limit: int) -> int:
    """Largest unpacked size among the pages of a column, which fill ``size`` bytes of a file."""
    largest, at = 0, start
    while at < start + size:
        unpacked, packed, length = _read_header(descriptor, at)
        if unpacked > max(limit, USUAL_RATIO * packed):
            raise ImageTooLargeError(f"a page of {packed} bytes unpacks to {unpacked}")
        largest, at = max(largest, unpacked), at + length + packed
    return largest


def _read_header(descriptor: int, at: int) -> tuple[int, int, int]:
    for count in (USUAL_HEADER_BYTES, MAX_HEADER_BYTES):
        header = _Header(os.pread(descriptor, count, at))
        try:
            fields = header.read_struct()
            unpacked, packed = fields[2], fields[3]
        except (IndexError, KeyError):
            continue
        if min(unpacked, packed) >= 0:
            return unpacked, packed, header.at
    raise ValueError("a page without a header")


class _Header:
    """Bytes of a header and how far they have been read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read_struct(self, depth: int = 0) -> dict[int, int]:
        """Integers of a struct by number; what is inside other fields is passed over."""
        fields, number = {}, 0
        while (head := self._read_byte()) != STOP:
            number = number + (head >> 4) if head >> 4 else self._read_integer()
            kind = head & 15
            if kind in INTEGERS:
                fields[number] = self._read_integer()
            elif kind == BINARY:
                length = self._read_varint()
                self.at += length
            elif kind == STRUCT and depth < 4:
                self.read_struct(depth + 1)
            elif kind not in FLAGS:
                raise ValueError("a page header of another kind")
        return fields

    def _read_byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _read_varint(self) -> int:
        value = shift = 0
        while (byte := self._read_byte()) & 128:
            value, shift = value | (byte & 127) << shift, shift + 7
        return value | byte << shift

    def _read_integer(self) -> int:
        value = self._read_varint()
        return value >> 1 ^ -(value & 1)  # zigzag
