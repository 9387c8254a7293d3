"""Write a result as it goes, whole or not at all: a journal becomes the final file when closed."""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, NoReturn, Self, TypeVar

import numpy as np

from galmorph.errors import CatalogueError, OutputError, ResumeError, TableFormatError
from galmorph.flags import NO_LABEL
from galmorph.quantities import to_masked
from galmorph.remote import exists, find_place, is_url, send
from galmorph.tables.cells import Values, missing_values, normalize, to_texts
from galmorph.tables.columns import ColumnSpec, check_names, join_names
from galmorph.tables.escape import STRINGS_KEY, restore, xml_text
from galmorph.tables.formats import STDOUT, check_format, csv, open_reader
from galmorph.tables.formats.base import Format, table_specs
from galmorph.tables.formats.text import join_rows
from galmorph.tables.journal import Journal, partial_path
from galmorph.tables.provenance import flatten_meta, list_differences
from galmorph.writing import move_into_place, say_unwritable

if TYPE_CHECKING:
    from astropy.table import Table

WRITE_ROWS = 4096  # rows of a table in memory that are handed over at once
MAX_NAMED = 5  # columns that a message names; an embedding in CSV has hundreds
KEY_COLUMNS = ("object_id", "path")  # what a row is recognized by
WAY_OUT = "or name another file, or start anew with --overwrite, which replaces this one"
Block = Mapping[str, Any]
T = TypeVar("T")


class TableWriter:
    """Takes blocks of rows, in a ``with`` statement; `meta` may change until it is closed.

    `rows_done` are safe, `rows_failed` of an earlier run have no label, and `finished` says that
    such a run has finished the table.
    """

    finished = ""

    def __init__(self, specs: Sequence[ColumnSpec], meta: Mapping[str, Any]) -> None:
        self.specs = tuple(specs)
        self.meta = dict(meta)
        self.rows_done = self.rows_failed = 0

    def append(self, block: Block) -> None:
        """Add rows, one sequence per column, vectors as (n, d); None and masked are missing."""
        columns = _normalize_block(block, self.specs)
        if len(columns[0]):
            self._write(columns)
            self.rows_done += len(columns[0])

    def _write(self, columns: Sequence[Values]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Finish the table and put it under its final name."""

    def abandon(self) -> None:
        """Stop without a final table; what was written stays as a partial result."""

    def skip_done(self, items: Iterable[T], key: Callable[[T], tuple[str, str]]) -> Iterator[T]:
        """Inputs still to be done, in the order of `append`; `key`: their object_id and path."""
        return iter(items)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def _normalize_block(block: Block, specs: Sequence[ColumnSpec]) -> list[Values]:
    names = [spec.name for spec in specs]
    if set(block) != set(names):
        absent, unknown = set(names) - set(block), set(block) - set(names)
        raise ValueError(f"a block lacks the columns {sorted(absent)}, has {sorted(unknown)} more")
    columns = [normalize(block[spec.name], spec) for spec in specs]
    lengths = {spec.name: len(values) for spec, values in zip(specs, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a block differ in length: {lengths}")
    return columns


class DoneRow(NamedTuple):
    """What is known of a row that an earlier run has written: no key where all are vectors."""

    key: tuple[str, str] | None
    failed: bool


def list_done(columns: Mapping[str, Values]) -> Iterator[DoneRow]:
    """Rows of some columns; without flags, only vectors of NaN have failed."""
    if KEY_COLUMNS[0] not in columns:
        gone = next((missing_values(values) for values in columns.values()), ())
        return (DoneRow(None, bool(nan)) for nan in gone)
    ids, paths = (to_texts(columns[name]) for name in KEY_COLUMNS)
    flags = columns.get("flags")
    failed = repeat(False)
    if flags is not None:
        whole = np.ma.filled(np.ma.asarray(flags), 0).astype(np.int64)
        failed = iter((whole & NO_LABEL.value != 0).tolist())
    return (DoneRow((i, p), f) for i, p, f in zip(ids, paths, failed, strict=False))


def describe_keys(keys: Sequence[tuple[str, str] | None]) -> str:
    """What is said of rows, by their path, else their identifier."""
    if not keys:
        return "missing"
    return "there" if keys[0] is None else repr(keys[0][1] or keys[0][0])


class FinishedWriter(TableWriter):
    """A table that is there already: it is compared with the run, and left as it is."""

    def __init__(
        self, form: Format, path: str, specs: Sequence[ColumnSpec], meta: Block, fingerprint: Block
    ) -> None:
        super().__init__(specs, meta)
        self.path, self._form = path, form
        self._names = form.list_names(specs)
        only = {*KEY_COLUMNS, "flags"} if KEY_COLUMNS[0] in self._names else None
        with self._reading():
            self._reader = open_reader(path, exact=KEY_COLUMNS, only=only)
            if form.provenance and self._reader.provenance is None:
                raise CatalogueError(f"{self.path}: it has no provenance")
        self._reader.restore = self._reader.spelled or self._reader.restore
        if differences := self._list_differences(fingerprint):
            self._refuse("; ".join(differences))
        self.finished = f"{self.path}: was finished by an earlier run; nothing is left to do"
        if not form.provenance:
            self.finished += (
                f". Only its rows and columns were compared: {form.name} records neither "
                "weights nor options"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except CatalogueError as error:
            reason = str(error).removeprefix(f"{self.path}: ")
            raise ResumeError(
                f"{self.path}: a file of this name is there already, and it is no whole result of "
                f"galmorph ({reason}); move it away, {WAY_OUT}"
            ) from error

    def _list_differences(self, fingerprint: Block) -> list[str]:
        """Say where the run that made it differs; what is in `meta` alone may."""
        recorded = list(self._reader.specs) or self._names
        different = _name_columns(self._names, recorded, "not in the file")
        different += _name_columns(recorded, self._names, "no longer made")
        if not self._form.provenance:
            return different
        free = {key for key in self.meta if key not in fingerprint} | {STRINGS_KEY}
        found = flatten_meta(self._reader.provenance or {})
        compared = {k: v for k, v in found.items() if k.partition(".")[0] not in free}
        return list_differences(_as_text(compared), _as_text(fingerprint)) + different

    def skip_done(self, items: Iterable[T], key: Callable[[T], tuple[str, str]]) -> Iterator[T]:
        """Compare all inputs with all rows; nothing is handed on."""
        rest = iter(items)
        with self._reading():
            for done in chain.from_iterable(map(list_done, self._reader.chunks())):
                self.rows_done += 1
                now = [key(item) for item in islice(rest, 1)]
                if not now or done.key not in (None, now[0]):
                    was = f"row {self.rows_done} is {describe_keys([done.key])}"
                    self._refuse(f"{was}, but the input at its place is {describe_keys(now)}")
                self.rows_failed += done.failed
        if more := [key(item) for item in islice(rest, 1)]:
            said = f"it has {self.rows_done} rows, but the inputs go on: {describe_keys(more)}"
            self._refuse(said)
        return iter(())

    def _write(self, columns: Sequence[Values]) -> None:
        self._refuse("it takes no more rows")

    def _refuse(self, reason: str) -> NoReturn:
        raise ResumeError(
            f"{self.path}: is finished already, by another run: {reason}. Repeat the options of "
            f"that run, {WAY_OUT}"
        )


def _name_columns(names: Sequence[str], others: Sequence[str], what: str) -> list[str]:
    taken = set(others)
    lost = [name for name in names if name not in taken]
    return [f"column {join_names(lost, MAX_NAMED)}: {what}"] if lost else []


def _as_text(mapping: Mapping[str, Any]) -> dict[str, str]:
    """Entries in the one form that every format gives back."""
    flat = flatten_meta(mapping)
    text = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in flat.items()}
    return {key: xml_text(restore(value)).strip() for key, value in text.items()}


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
        self, name: str, form: Format, journal: Journal, meta: Block, fingerprint: Block
    ) -> None:
        super().__init__(journal.specs, meta)
        self.path, self._name, self._form, self._journal = find_place(name), name, form, journal
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
        return say_unwritable(self._name, kept)

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
        if is_url(self._name):
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
            if is_url(self._name):
                send(temporary, self._name)
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
    name, final, partial = os.fspath(path), find_place(path), partial_path(path)
    if name == STDOUT:
        if resume:
            raise ResumeError("standard output cannot be resumed; name a file with -o")
        if sys.__stdout__ is None:
            raise OutputError("standard output is closed; name a file with -o")
        return _StreamWriter(sys.stdout.buffer, specs, safe=csv_safe)
    meta, fingerprint = meta or {}, fingerprint or {}
    with say_unwritable(name, "name a file in a folder where files can be written"):
        if resume and not partial.exists() and exists(name):
            return FinishedWriter(form, name, specs, meta, fingerprint)
        if final.is_dir():
            raise TableFormatError(f"{final}: is a folder; name a file in it")
        final.parent.mkdir(parents=True, exist_ok=True)
        start = Journal.reopen if resume and partial.exists() else Journal.create
        journal = start(partial, specs, fingerprint)
    return _FileWriter(name, form, journal, meta, fingerprint)


def write_table(table: "Table", path: str | os.PathLike[str]) -> None:
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
