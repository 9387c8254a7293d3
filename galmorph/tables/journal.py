"""The partial result: one append-only text file, whatever the final format.

Why one journal and not a growing file per format: a FITS table needs the width of its strings and
the number of its rows before the first byte, Parquet is unreadable until its footer is written,
VOTable until its closing tags, and npy needs its shape. A journal that only ever grows at its end,
one row per line, makes all of them alike: a kill can tear nothing but the last line, so that going
on means cutting after the last line break; and each final format becomes a plain function of rows
whose number and widths are known. The price is a second pass over the rows at the end (some
microseconds a row, see ``docs/tables.md``) and, for that time, the disk space of both.

The journal is an ECSV table (``out.fits.partial.ecsv`` beside ``out.fits``), so that what a killed
run leaves can be opened by astropy, TOPCAT, pandas or an editor. Its header holds the columns and
the fingerprint of the run. Vectors stand in it as base64 text (`galmorph.tables.read_partial`
decodes them).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

from galmorph.errors import ResumeError
from galmorph.tables.cells import Values, from_cells
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.done import KEY_COLUMNS, DoneRow, make_done
from galmorph.tables.escape import unescape_all
from galmorph.tables.lines import join_rows, make_header, split_rows
from galmorph.tables.measure import Measure
from galmorph.tables.provenance import flatten_meta, list_differences, plain

__all__ = ["CHUNK_BYTES", "Journal", "partial_path"]

CHUNK_BYTES = 1 << 20
"""Bytes of text that are read at once; what bounds the memory of the second pass."""

RECORD_KEY = "galmorph_partial"
_RECORD_START = f'# meta: {{"{RECORD_KEY}": '.encode()
VERSION = 1
_TAKEN = "{}: another process is writing this result"
_TRIES = 10

_logger = logging.getLogger(__name__)


def partial_path(path: str | os.PathLike[str]) -> Path:
    """Where the partial result of an output stands while it is being written.

    Parameters
    ----------
    path : path-like
        The final name.

    Returns
    -------
    Path

    Examples
    --------
    >>> partial_path("out.fits").name
    'out.fits.partial.ecsv'
    """
    return Path(f"{os.fspath(path)}.partial.ecsv")


def _record(specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a run to go on with the rows of another."""
    columns = {spec.name: spec.kind for spec in specs}
    return {"version": VERSION, "columns": columns, "fingerprint": plain(fingerprint)}


def _header_bytes(
    specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any], meta: Mapping[str, Any]
) -> bytes:
    record = {**_record(specs, fingerprint), "specs": [asdict(spec) for spec in specs]}
    pairs = {RECORD_KEY: json.dumps(record), **flatten_meta(meta)}
    names = join_rows([[spec.name] for spec in specs])
    lines = make_header(specs, pairs, packed=True)
    return ("".join(f"# {line}\n" for line in lines) + names).encode()


def read_record(file: BinaryIO) -> dict[str, Any]:
    """Read the header of a journal and leave the file at the first row.

    Parameters
    ----------
    file : binary file, at its start

    Returns
    -------
    dict
        "version", "columns", "fingerprint" and "specs", as written by the run that made the file.

    Raises
    ------
    ValueError
        Where the file is not a journal of galmorph.
    """
    record = None
    for line in iter(file.readline, b""):
        if line.startswith(_RECORD_START):
            # The record is ASCII, so its YAML is JSON and no YAML parser is needed.
            text, _ = json.JSONDecoder().raw_decode(line.decode(), len(_RECORD_START))
            record = json.loads(text)
        if not line.startswith(b"# "):  # the line of names, which ends the header
            break
    if not isinstance(record, dict):
        raise ValueError("it has no header of a partial result")
    return record


def _find_differences(
    record: Mapping[str, Any], specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any]
) -> list[str]:
    now = _record(specs, fingerprint)
    recorded = {key: value for key, value in record.items() if key != "specs"}
    differences = list_differences(recorded, now)
    differences = [text.removeprefix("fingerprint.") for text in differences]
    if not differences and list(record["columns"]) != list(now["columns"]):
        differences = ["the order of the columns"]
    return differences


class Journal:
    """Append rows of text cells; read them again from the start.

    Use `create` or `reopen`.

    Parameters
    ----------
    path : Path
        The journal itself.
    specs : sequence of ColumnSpec
    file : binary file, optional
        The journal, open for reading and writing and locked already.

    Attributes
    ----------
    rows_done : int
    measures : list of Measure
        What the final formats must know of each column beforehand.
    """

    def __init__(
        self, path: Path, specs: Sequence[ColumnSpec], file: BinaryIO | None = None
    ) -> None:
        self.path = path
        self.specs = tuple(specs)
        self.rows_done = 0
        self.measures = [Measure() for _ in self.specs]
        # One handle for writing and reading: closing a second one would drop the lock.
        self._file: BinaryIO = file or path.open("r+b")
        try:
            if file is None:
                _lock(self._file, path)
                if not _is_at(self._file, path):  # replaced while it was being opened
                    raise ResumeError(_TAKEN.format(path))
            self._file.seek(0)
            read_record(self._file)
            self._start = self._file.tell()
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def create(
        cls,
        path: Path,
        specs: Sequence[ColumnSpec],
        fingerprint: Mapping[str, Any],
        meta: Mapping[str, Any],
    ) -> Journal:
        """Start an empty journal, in place of one that is there.

        Parameters
        ----------
        path : Path
        specs : sequence of ColumnSpec
        fingerprint : mapping
            What the run is made of, JSON-able.
        meta : mapping
            Provenance, for those who read the partial result.

        Returns
        -------
        Journal

        Raises
        ------
        ResumeError
            Where another process is writing it.
        """
        # Moved into place with its lock: no journal ever has half a header or no owner.
        temporary = Path(f"{path}.new")
        file = _claim(temporary, path)
        try:
            file.truncate(0)
            file.write(_header_bytes(specs, fingerprint, meta))
            file.flush()
            with ExitStack() as held:
                if path.exists():
                    earlier = held.enter_context(path.open("r+b"))
                    _lock(earlier, path)
                    _logger.warning("%s: a partial result of an earlier run is replaced", path)
                if os.name == "nt":  # which moves no open file, and has no locks to lose
                    held.close()
                    file.close()
                temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            file.close()
            raise
        return cls(path, specs, None if file.closed else file)

    @classmethod
    def reopen(
        cls, path: Path, specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any]
    ) -> Journal:
        """Open a journal to go on after its last whole row.

        Parameters
        ----------
        path : Path
        specs : sequence of ColumnSpec
        fingerprint : mapping

        Returns
        -------
        Journal
            With `rows_done` rows; a torn row at the end has been cut off.

        Raises
        ------
        ResumeError
            Where it belongs to another run (the message says what differs), is no journal, or
            another process is writing it.
        """
        with path.open("rb") as file:
            try:
                record = read_record(file)
            except ValueError as error:
                raise ResumeError(f"{path}: {error}; delete it to start anew") from error
        differences = _find_differences(record, specs, fingerprint)
        if differences:
            raise ResumeError(
                f"{path}: belongs to another run. " + "; ".join(differences) + ". Repeat the "
                "options of that run, or start anew without --resume (the partial result is lost)"
            )
        journal = cls(path, specs)
        try:
            journal._cut_torn_rows()
        except BaseException:
            journal.close()
            raise
        return journal

    def _cut_torn_rows(self) -> None:
        end = self._start
        for chunk in self._chunks():
            whole = [line for line in chunk if line.endswith(b"\n")]
            self._count(self.split(whole))
            end += sum(map(len, whole))
        self._file.truncate(end)

    def append(self, columns: Sequence[Sequence[str]]) -> None:
        """Add rows and hand them to the system, so that a kill of this process keeps them.

        Parameters
        ----------
        columns : sequence of sequence of str
            Cells as `galmorph.tables.cells.to_cells` gives them, one sequence per column.
        """
        self._file.seek(0, os.SEEK_END)
        self._file.write(join_rows(columns).encode())
        self._file.flush()
        self._count(columns)

    def _count(self, columns: Sequence[Sequence[str]]) -> None:
        self.rows_done += len(columns[0])
        for measure, spec, cells in zip(self.measures, self.specs, columns, strict=True):
            measure.update(cells, spec)

    def cells(self) -> Iterator[list[tuple[str, ...]]]:
        """Read the rows from the first, some at a time.

        Yields
        ------
        list of tuple of str
            Cells, one tuple per column.
        """
        for chunk in self._chunks():
            yield self.split(chunk)

    def done_rows(self) -> Iterator[DoneRow]:
        """Read from the first row what the inputs of a resumed run are compared with.

        Yields
        ------
        DoneRow
        """
        names = [spec.name for spec in self.specs]
        for cells in self.cells():
            columns = dict(zip(names, cells, strict=True))
            keys = [unescape_all(columns[name]) for name in KEY_COLUMNS]
            yield from map(make_done, *keys, columns.get("flags", repeat(0)))

    def _chunks(self) -> Iterator[list[bytes]]:
        position = self._start
        while True:
            self._file.seek(position)
            chunk = self._file.readlines(CHUNK_BYTES)
            if not chunk:
                return
            position = self._file.tell()
            yield chunk

    def split(self, lines: Sequence[bytes]) -> list[tuple[str, ...]]:
        """Cells of some lines, one tuple per column.

        Parameters
        ----------
        lines : sequence of bytes
            Whole lines.

        Returns
        -------
        list of tuple of str

        Raises
        ------
        ResumeError
            Where a line is not a row of this journal.
        """
        try:
            text = b"".join(lines).decode()
            return split_rows(text.removesuffix("\n").split("\n") if text else [], len(self.specs))
        except ValueError as error:
            raise ResumeError(f"{self.path}: damaged: {error}; delete it to start anew") from error

    def values(self) -> Iterator[list[Values]]:
        """Read the rows from the first, some at a time, as values.

        Yields
        ------
        list of (list of str or ndarray)
            One entry per column, as `galmorph.tables.cells.normalize` gives it.
        """
        for columns in self.cells():
            yield [from_cells(c, spec) for c, spec in zip(columns, self.specs, strict=True)]

    def raw_chunks(self) -> Iterator[bytes]:
        """Read the rows from the first as the lines that they are, some at a time.

        Yields
        ------
        bytes
            Whole lines.
        """
        for chunk in self._chunks():
            yield b"".join(chunk)

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let the file go; it stays."""
        try:
            self._file.close()
        except OSError as error:  # rows that a full disk has refused before
            _logger.debug("%s: not all of it was written: %s", self.path, error)


def _claim(temporary: Path, path: Path) -> BinaryIO:
    """Open and lock the file that will be the journal, whether it is there or not."""
    for _ in range(_TRIES):
        file = open(temporary, "r+b", opener=_open_or_make)  # noqa: SIM115
        try:
            _lock(file, path)
            if _is_at(file, temporary):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # another process has moved it into place or removed it
    raise ResumeError(_TAKEN.format(path))


def _open_or_make(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: BinaryIO, path: Path) -> None:
    """Claim the file for this process; the system frees it however the process ends."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise ResumeError(_TAKEN.format(path)) from error
    except OSError as error:  # a file system without locks
        _logger.debug("%s: no lock: %s", path, error)
