"""Rows as numbers in blocks of bytes, each with its place, length, checksum and run identity."""

import io
import math
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
    """Columns as bytes: lengths and letters of texts; a mask, unless of vectors, and numbers."""
    parts: list[bytes] = []
    for values in columns:
        if isinstance(values, list):
            heap = "".join(values).encode("utf-8", "surrogatepass")
            lengths = np.fromiter(map(len, values), np.uint32, len(values))
            parts += [len(heap).to_bytes(8, "little"), lengths.tobytes(), heap]
        else:
            mask = np.ma.getmaskarray(values).tobytes() if values.ndim == 1 else b""
            parts += [mask, np.ma.getdata(values).tobytes()]
    return b"".join(parts)


def unpack(data: bytes, rows: int, specs: Sequence[ColumnSpec]) -> list[Values]:
    """Columns of bytes that `pack` has made."""
    stream, columns = io.BytesIO(data), list[Values]()
    for spec in specs:
        if spec.is_text:
            size = int.from_bytes(stream.read(8), "little")
            ends = np.cumsum(np.frombuffer(stream.read(4 * rows), np.uint32)).tolist()
            heap = stream.read(size).decode("utf-8", "surrogatepass")
            columns.append([heap[i:k] for i, k in zip([0, *ends], ends, strict=False)])
        else:
            mask = np.frombuffer(stream.read(0 if spec.shape else rows), bool)
            size = rows * math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
            array = np.frombuffer(stream.read(size), spec.dtype).reshape(rows, *spec.shape)
            columns.append(np.ma.MaskedArray(array, mask=mask) if mask.any() else array)
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
