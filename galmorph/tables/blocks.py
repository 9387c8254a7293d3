"""Rows as numbers in blocks of bytes, each with its place, length, checksum and run identity."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

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


def pack(columns: Sequence[Values], specs: Sequence[ColumnSpec]) -> bytes:
    """Columns as bytes."""
    parts: list[bytes] = []
    for values, spec in zip(columns, specs, strict=True):
        if isinstance(values, list):
            heap = "".join(values).encode("utf-8", "surrogatepass")
            lengths = np.fromiter(map(len, values), "<u4", len(values))
            parts += [len(heap).to_bytes(8, "little"), lengths.tobytes(), heap]
        else:
            if _has_mask(spec):
                parts.append(np.packbits(np.ma.getmaskarray(values)).tobytes())
            parts.append(np.ascontiguousarray(np.ma.getdata(values), _little(spec)).tobytes())
    return b"".join(parts)


def unpack(data: bytes, rows: int, specs: Sequence[ColumnSpec]) -> list[Values]:
    """Columns of bytes that `pack` has made."""
    columns: list[Values] = []
    at = 0

    def take(count: int, dtype: str) -> npt.NDArray[Any]:
        nonlocal at
        array = np.frombuffer(data, dtype, count, at)
        at += array.nbytes
        return array

    for spec in specs:
        if spec.is_text:
            size = int(take(1, "<u8")[0])
            ends = np.cumsum(take(rows, "<u4")).tolist()
            heap = take(size, "u1").tobytes().decode("utf-8", "surrogatepass")
            columns.append([heap[i:k] for i, k in zip([0, *ends], ends, strict=False)])
            continue
        bits = take(-(-rows // 8) if _has_mask(spec) else 0, "u1")
        mask = np.unpackbits(bits, count=min(rows, 8 * len(bits))).astype(bool)
        array = take(rows * (spec.shape or (1,))[0], _little(spec)).reshape(rows, *spec.shape)
        array = array.astype(spec.dtype, copy=False)
        columns.append(np.ma.MaskedArray(array, mask=mask) if mask.any() else array)
    return columns


def _has_mask(spec: ColumnSpec) -> bool:
    return not (spec.is_float or spec.shape)


def _little(spec: ColumnSpec) -> str:
    return np.dtype(spec.dtype).newbyteorder("<").str


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
