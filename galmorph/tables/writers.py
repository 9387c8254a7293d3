"""Write a result as it goes, whole or not at all.

`open_writer` gives a writer to which blocks of rows are appended. Every block goes to a journal
beside the final name (see `galmorph.tables.journal` for why); when the writer is closed, the final
file is made from it under a temporary name and moved into place, and the journal is removed. So the
final name never shows a half-written table; what a killed run leaves can be read and continued.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from galmorph.errors import OutputError, ResumeError, TableFormatError
from galmorph.quantities import to_masked
from galmorph.remote import exists, fetch, find_place, is_url, send
from galmorph.tables.cells import Values
from galmorph.tables.columns import ColumnSpec, check_names
from galmorph.tables.finished import FinishedWriter, describe_keys, list_done
from galmorph.tables.formats import STDOUT, check_format, csv
from galmorph.tables.formats.base import Format, table_specs
from galmorph.tables.formats.text import join_rows
from galmorph.tables.journal import Journal, partial_path
from galmorph.tables.writer import Block, T, TableWriter
from galmorph.writing import move_into_place, say_unwritable

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["TableWriter", "open_writer", "write_table"]

WRITE_ROWS = 4096
"""Rows of a table in memory that are handed over at once."""


class _StreamWriter(TableWriter):
    """CSV to an open stream, row by row; nothing to resume."""

    def __init__(self, stream: BinaryIO, specs: Sequence[ColumnSpec], *, safe: bool) -> None:
        super().__init__(specs, {})
        self._stream, self._safe = stream, safe
        self._send(join_rows([[name] for name in csv.list_names(specs)]))

    def _send(self, text: str) -> None:
        try:
            self._stream.write(text.encode())
            self._stream.flush()
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has seen enough
                raise
            reason = error.strerror or error
            raise OutputError(f"standard output: cannot be written ({reason})") from error

    def _write(self, columns: Sequence[Values]) -> None:
        self._send(csv.to_text(columns, self.specs, safe=self._safe))


class _FileWriter(TableWriter):
    """A journal that becomes the final file on closing."""

    def __init__(
        self,
        path: Path,
        form: Format,
        journal: Journal,
        meta: Block,
        fingerprint: Block,
        url: str = "",
    ) -> None:
        super().__init__(journal.specs, meta)
        self.path, self._form, self._journal, self._url = path, form, journal, url
        self._fingerprint = fingerprint
        self._closed = self._compared = False
        self.rows_done = journal.gaps[0].start if journal.gaps else journal.rows_done

    def _write(self, columns: Sequence[Values]) -> None:
        with self._saving():
            self._journal.append(columns)

    def _saving(self) -> AbstractContextManager[None]:
        if not self._compared:
            self._journal.cut_at_gap()
        kept = f"the rows are kept in {self._journal.path}: make room and go on with --resume"
        return say_unwritable(self._url or self.path, kept)

    def close(self) -> None:
        """Make the final file, move it into place and remove the partial result."""
        if self._closed:
            return
        self._closed = True
        try:
            with self._saving():
                self._finish(self.path.with_name(f"{self.path.name}.partial.new"))
        finally:
            self._journal.close()
        if self._url:
            with suppress(OSError):
                self.path.parent.rmdir()

    def _finish(self, temporary: Path) -> None:
        assert self._form.write is not None
        if self._journal.gaps:
            raise ResumeError(f"{self._journal.path}: rows are missing; go on with --resume")
        try:
            self._journal.sync()
            self._form.write(self._journal, {**self.meta, **self._fingerprint}, temporary)
            self._journal.check_owner()
            if self._url:
                send(temporary, self._url)
            else:
                move_into_place(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._journal.path.unlink()

    def abandon(self) -> None:
        """Keep the partial result."""
        if not self._closed:
            self._closed = True
            self._journal.close()

    def skip_done(self, items: Iterable[T], key: Callable[[T], tuple[str, str]]) -> Iterator[T]:
        """Compare with the rows that are there; hand on the inputs of others, gaps first."""
        rest, row = iter(items), 0
        again: list[T] = []
        for start, columns in self._journal.numbered():
            again += islice(rest, start - row)
            for row, done in enumerate(list_done(columns), start + 1):
                now = [key(item) for item in islice(rest, 1)]
                if now != [done.key]:
                    raise ResumeError(
                        f"{self._journal.path}: row {row} is {describe_keys([done.key])}, but the "
                        f"input at its place is now {describe_keys(now)}; the inputs have changed: "
                        "restore them, or start anew with --overwrite (the partial result is lost)"
                    )
                self.rows_failed += done.failed
        self._compared, self.rows_done = True, self._journal.rows_done
        return chain(again, rest)


def open_writer(
    path: str | os.PathLike[str],
    specs: Sequence[ColumnSpec],
    meta: Mapping[str, Any] | None = None,
    *,
    fingerprint: Mapping[str, Any] | None = None,
    resume: bool = False,
    csv_safe: bool = False,
    stream: BinaryIO | None = None,
) -> TableWriter:
    """Start, or go on with, a result file.

    Parameters
    ----------
    path : path-like
        The final name; its suffix decides the format (see `check_format`). Missing folders are
        made. "-" sends CSV to standard output, row by row, with no partial result.
    specs : sequence of ColumnSpec
        Usually from `result_columns`.
    meta : mapping, optional
        Provenance, may be nested; `TableWriter.meta` can be changed until the writer is closed.
    fingerprint : mapping, optional
        What the result depends on (inputs, sha256 of the weights, options), JSON-able. It is
        recorded in the partial result and beside `meta` in the final one, and compared on resuming.
    resume : bool
        Go on after the rows of a partial result, if there is one. Where the final file is there
        instead, the writer takes no rows and says so in `TableWriter.finished`; `skip_done`
        then makes sure that the inputs are those of its rows.
    csv_safe : bool
        Put an apostrophe before strings of CSV that a spreadsheet would run as formulas
        (= + - @ first). Other formats are for machines and stay as they are.
    stream : binary file, optional
        Where "-" goes instead of standard output.

    Returns
    -------
    TableWriter

    Raises
    ------
    TableFormatError
        Where the format does not exist or cannot hold these columns.
    MissingExtraError
        Where the format needs a package that is not installed.
    ResumeError
        Where the partial or the finished result belongs to another run (the message says what
        differs), is damaged, or is being written by another process.
    OutputError
        Where the system does not let it be written. While it is written, `TableWriter.append` and
        `TableWriter.close` raise it too; the rows that are done can be resumed.
    """
    form = check_format(path, "embed" if any(spec.shape for spec in specs) else "classify")
    form = csv.SAFE if csv_safe and form is csv.FORMAT else form
    form.check(specs)
    check_names(specs)
    if os.fspath(path) == STDOUT:
        if resume:
            raise ResumeError("standard output cannot be resumed; name a file with -o")
        if stream is None and sys.__stdout__ is None:
            raise OutputError("standard output is closed; name a file with -o")
        return _StreamWriter(stream or sys.stdout.buffer, specs, safe=csv_safe)
    final, meta, fingerprint = find_place(path), meta or {}, fingerprint or {}
    url = os.fspath(path) if is_url(path) else ""
    with say_unwritable(url or final, "name a file in a folder where files can be written"):
        if resume and not partial_path(path).exists():
            copy = fetch(url) if url and exists(url) else None
            if copy is not None or final.is_file():
                run = {"meta": meta, "fingerprint": fingerprint}
                return FinishedWriter(form, final, copy, specs, **run)
        journal = _open_journal(final, specs, fingerprint, resume=resume)
    return _FileWriter(final, form, journal, meta, fingerprint, url)


def _open_journal(
    path: Path, specs: Sequence[ColumnSpec], fingerprint: Mapping[str, Any], *, resume: bool
) -> Journal:
    if path.is_dir():
        raise TableFormatError(f"{path}: is a folder; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    if resume and partial.exists():
        return Journal.reopen(partial, specs, fingerprint)
    return Journal.create(partial, specs, fingerprint)


def write_table(table: Table, path: str | os.PathLike[str]) -> None:
    """Write a table that is in memory, as `galmorph.classify` gives it.

    Unlike ``write`` of a plain astropy table it keeps units, UCDs, descriptions and provenance in
    every format that has a place for them.

    Parameters
    ----------
    table : astropy.table.Table
    path : path-like
        As for `open_writer`.

    Raises
    ------
    TableFormatError
        Where the format does not exist or cannot hold these columns.
    """
    specs = table_specs(table)
    with open_writer(path, specs, table.meta) as writer:
        for start in range(0, len(table), WRITE_ROWS):
            rows = table[start : start + WRITE_ROWS]
            writer.append({spec.name: to_masked(rows[spec.name]) for spec in specs})
