"""Rows as numbers in blocks of bytes, each with its place, length, checksum and run identity."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from galmorph.tables.cells import Values
from galmorph.tables.columns import ColumnSpec

MAGIC = b"\x8fgalmrph"
_HEAD = struct.Struct("<8s16sQIQI")  # magic, run, first row, rows, bytes and their checksum
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size
_SCAN_BYTES = 1 << 20


class Place(NamedTuple):
    """Where the rows from `start` on stand in the file."""

    start: int
    rows: int
    offset: int
    size: int
    run: bytes

    @property
    def end(self) -> int:
        """Where the next may stand."""
        return self.offset + HEAD_BYTES + self.size


def pack(columns: Sequence[Values]) -> bytes:
    """Columns as npy, two arrays of each: lengths and letters of texts, or numbers and mask."""
    stream = io.BytesIO()
    for values in columns:
        if isinstance(values, list):
            np.save(stream, np.fromiter(map(len, values), np.uint32, len(values)))
            heap = "".join(values).encode("utf-8", "surrogatepass")
            np.save(stream, np.frombuffer(heap, np.uint8))
        else:
            np.save(stream, np.ma.getdata(values))
            np.save(stream, np.ma.getmask(values))
    return stream.getvalue()


def unpack(data: bytes, specs: Sequence[ColumnSpec]) -> list[Values]:
    """Columns of bytes that `pack` has made."""
    stream, columns = io.BytesIO(data), list[Values]()
    for spec in specs:
        first, second = np.load(stream), np.load(stream)
        if spec.is_text:
            ends = np.cumsum(first).tolist()
            heap = second.tobytes().decode("utf-8", "surrogatepass")
            columns.append([heap[i:k] for i, k in zip([0, *ends], ends, strict=False)])
        else:
            columns.append(np.ma.MaskedArray(first, mask=second) if second.any() else first)
    return columns


def make_block(payload: bytes, *, run: bytes, start: int, rows: int) -> bytes:
    """A block of the file."""
    head = _HEAD.pack(MAGIC, run, start, rows, len(payload), zlib.crc32(payload))
    return head + _CRC.pack(zlib.crc32(head)) + payload


def read_block(file: BinaryIO, offset: int) -> tuple[Place, bytes] | None:
    """The whole block at `offset` with what it holds; None where there is none."""
    file.seek(offset)
    head = file.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES or _CRC.unpack(head[-4:])[0] != zlib.crc32(head[:-4]):
        return None
    magic, run, start, rows, size, checksum = _HEAD.unpack(head[:-4])
    payload = file.read(size)
    good = magic == MAGIC and len(payload) == size and zlib.crc32(payload) == checksum
    return (Place(start, rows, offset, size, run), payload) if good else None


def find_blocks(file: BinaryIO, offset: int, run: bytes = b"") -> Iterator[Place]:
    """Every whole block, of one run or any, from `offset` on, as they stand in the file."""
    while True:
        found = read_block(file, offset)
        if found is not None:
            if found[0].run.startswith(run):
                yield found[0]
            offset = found[0].end
            continue
        offset = _find_marker(file, offset + 1, MAGIC + run)
        if offset < 0:
            return


def _find_marker(file: BinaryIO, offset: int, marker: bytes) -> int:
    while True:
        file.seek(offset)
        data = file.read(_SCAN_BYTES)
        at = data.find(marker)
        if at >= 0:
            return offset + at
        if len(data) < _SCAN_BYTES:
            return -1
        offset += len(data) - len(marker) + 1
