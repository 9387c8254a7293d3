"""The partial result: blocks of rows, whatever the final format.

It only grows at its end, so that a kill can tear nothing but the last block. Its first block, which
stands there twice, holds as JSON the columns and what the run is made of. Each block has its place,
length, checksum and run identity.
"""

import io
import json
import logging
import math
import os
import struct
import sys
import time
import uuid
import zlib
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from galmorph.errors import ResumeError
from galmorph.quantities import plain
from galmorph.remote import find_place
from galmorph.tables.cells import Values, missing_values
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import escape_ascii, is_plain, xml_cell
from galmorph.tables.owner import Owner
from galmorph.tables.provenance import list_differences
from galmorph.writing import put_in_place

MAGIC = b"\x8fgalmrph"
_HEAD = struct.Struct("<8s16sQIQI")  # magic, run, first row, rows, bytes and their checksum
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size
_SCAN_BYTES = 1 << 20
VERSION = 3
SYNC_S = 10.0  # at most so much work is lost where the power fails
_logger = logging.getLogger(__name__)


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


def partial_path(path: str | os.PathLike[str]) -> Path:
    """Where the partial result of an output stands while it is being written."""
    return Path(f"{find_place(path)}.partial")


def list_written(path: str | os.PathLike[str]) -> list[Path]:
    """What may stand beside an output while it is being written."""
    partial = partial_path(path)
    return [partial, Path(f"{partial}.owner"), Path(f"{partial}.new")]


@dataclass(slots=True)
class Measure:
    """What FITS, VOTable, Parquet and npz must know of a column: widths, ASCII, gaps."""

    fits_width: int = 0
    length: int = 0
    ascii: bool = True
    missing: bool = False

    def update(self, values: Values) -> None:
        """Take more values into account."""
        self.missing = self.missing or bool(missing_values(values).any())
        if not isinstance(values, list) or not values:
            return
        longest = widest = max(map(len, values))
        ascii_only = "".join(values).isascii()
        self.ascii = self.ascii and ascii_only
        if not ascii_only or "\\" in "".join(values) or not is_plain(values):
            longest = max(len(xml_cell(text).encode("utf-16-le")) // 2 for text in values)
            widest = max(len(escape_ascii(text)) for text in values)
        self.fits_width, self.length = max(self.fits_width, widest), max(self.length, longest)


def _make_record(specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a run to go on with the rows of another."""
    columns = {spec.name: spec.kind for spec in specs}
    return {"version": VERSION, "columns": columns, "fingerprint": plain(fingerprint)}


def _read_head(file: BinaryIO, path: Path) -> tuple[tuple[ColumnSpec, ...], dict[str, Any], Place]:
    """Columns and record of the first block, or of its copy, and where that is."""
    head = next((place for place in find_blocks(file, 0) if not place.rows), None)
    found = head and read_block(file, head.offset)
    try:
        if found is None:
            raise ValueError("its first block is damaged")
        record = json.loads(found[1])
        specs = tuple(ColumnSpec(**{**s, "shape": tuple(s["shape"])}) for s in record.pop("specs"))
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(
            f"{path}: is no partial result that can be read ({error}); delete it to start anew"
        ) from error
    return specs, record, found[0]


def _find_places(file: BinaryIO, head: Place) -> list[Place]:
    """Blocks by the number of their first row; of two with the same rows, the earlier."""
    ordered: list[Place] = []
    places = find_blocks(file, head.end, head.run)
    for place in sorted(places, key=lambda place: (place.start, place.offset)):
        if place.rows and (not ordered or place.start >= ordered[-1].start + ordered[-1].rows):
            ordered.append(place)
    return ordered


def _find_gaps(places: Sequence[Place]) -> list[range]:
    gaps, stop = [], 0
    for place in places:
        if place.start > stop:
            gaps.append(range(stop, place.start))
        stop = place.start + place.rows
    return gaps


class Journal:
    """A partial result of this process; `gaps` are missing before the last of `rows_done`."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self.path = path
        self._owner = owner
        # Unbuffered: what a full disk has refused is not tried again on closing.
        self._file: Any = open(  # noqa: SIM115
            path, "r+b", 0, opener=lambda name, flags: os.open(name, flags | os.O_APPEND)
        )
        self._synced = time.monotonic()
        try:
            self.specs, self._record, self._head = _read_head(self._file, path)
            self._places = _find_places(self._file, self._head)
        except BaseException:
            self._file.close()
            raise
        self.rows_done = sum(place.rows for place in self._places)
        self.gaps = _find_gaps(self._places)

    @classmethod
    def create(
        cls, path: Path, specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any]
    ) -> Self:
        """Start an empty journal, in place of one that is there."""
        record = {**_make_record(specs, fingerprint), "specs": [asdict(spec) for spec in specs]}
        block = make_block(json.dumps(record).encode(), run=uuid.uuid4().bytes, start=0, rows=0)
        owner = Owner(path)
        try:
            with put_in_place(path) as temporary:
                temporary.write_bytes(block * 2)
                if path.exists():
                    _logger.warning("%s: a partial result of an earlier run is replaced", path)
            return cls(path, owner)
        except BaseException:
            owner.release()
            raise

    @classmethod
    def reopen(
        cls, path: Path, specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any]
    ) -> Self:
        """Open a journal to go on with it; `ResumeError` where it belongs to another run."""
        owner = Owner(path)
        try:
            journal = cls(path, owner)
        except BaseException:
            owner.release()
            raise
        differences = _find_differences(journal._record, specs, fingerprint)
        if differences:
            journal.close()
            raise ResumeError(
                f"{path}: belongs to another run. " + "; ".join(differences) + ". Repeat the "
                "options of that run, or start anew with --overwrite (the partial result is lost)"
            )
        journal.specs = tuple(specs)  # of other words, perhaps
        journal._file.truncate(max(place.end for place in (journal._head, *journal._places)))
        if rows := sum(map(len, journal.gaps)):
            _logger.warning("%s: %d rows are damaged and will be done again", path, rows)
        return journal

    def cut_at_gap(self) -> None:
        """Forget the rows behind the first that is missing."""
        for gap in self.gaps[:1]:
            self._places = [place for place in self._places if place.start < gap.start]
            self.rows_done, self.gaps = gap.start, []

    def append(self, columns: Sequence[Values]) -> None:
        """Add rows, into the gaps first, and hand them to the system: a kill keeps them."""
        rows, at = len(columns[0]), 0
        while at < rows:
            gap = self.gaps[0] if self.gaps else range(self.rows_done, sys.maxsize)
            count = min(rows - at, len(gap))
            self._write([values[at : at + count] for values in columns], gap.start, count)
            at += count
            self.gaps[:1] = [gap[count:]] if self.gaps and gap[count:] else []

    def _write(self, columns: Sequence[Values], start: int, rows: int) -> None:
        self._owner.check()
        payload = pack(columns)
        offset = self._file.seek(0, os.SEEK_END)
        block = memoryview(make_block(payload, run=self._head.run, start=start, rows=rows))
        while block:
            block = block[self._file.write(block) :]
        insort(self._places, Place(start, rows, offset, len(payload), self._head.run))
        self.rows_done += rows
        if time.monotonic() - self._synced > SYNC_S:
            self.sync()

    def values(self) -> Iterator[list[Values]]:
        """Read the rows from the first, some at a time: one entry per column."""
        for place in self._places:
            yield _read_rows(self._file, place, self.specs, self.path)

    def numbered(self) -> Iterator[tuple[int, dict[str, Values]]]:
        """The same by name, with the number of the first row."""
        for place, columns in zip(self._places, self.values(), strict=True):
            named = zip(self.specs, columns, strict=True)
            yield place.start, {spec.name: values for spec, values in named}

    def measure(self) -> list[Measure]:
        """Facts on each column, for which all rows are read."""
        measures = [Measure() for _ in self.specs]
        for columns in self.values():
            for measure, values in zip(measures, columns, strict=True):
                measure.update(values)
        return measures

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def check_owner(self) -> None:
        """Make sure that no other process has taken over."""
        self._owner.check()

    def close(self) -> None:
        """Let the file go; it stays."""
        self._file.close()
        self._owner.release()


def _read_rows(
    file: BinaryIO, place: Place, specs: Sequence[ColumnSpec], path: Path
) -> list[Values]:
    found = read_block(file, place.offset)
    if found is None or found[0] != place:
        raise ResumeError(f"{path}: has changed while it was open; go on with --resume")
    return unpack(found[1], place.rows, specs)


def _find_differences(
    record: Mapping[str, Any], specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any]
) -> list[str]:
    now = _make_record(specs, fingerprint)
    differences = [text.removeprefix("fingerprint.") for text in list_differences(record, now)]
    if not differences and list(record["columns"]) != list(now["columns"]):
        differences = ["the order of the columns"]
    return differences


def read_journal(path: Path) -> tuple[Sequence[ColumnSpec], Mapping[str, Any], list[list[Values]]]:
    """Columns, fingerprint and rows of a partial result, whoever owns it."""
    with path.open("rb") as file:
        specs, record, head = _read_head(file, path)
        rows = [_read_rows(file, place, specs, path) for place in _find_places(file, head)]
    return specs, record["fingerprint"], rows
