"""A finished result, read back to tell whether it is the one that a run would make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from galmorph.errors import CatalogueError, ResumeError
from galmorph.flags import NO_LABEL
from galmorph.remote import Copy
from galmorph.tables.cells import Values, missing_values, to_texts
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import STRINGS_KEY, restore, xml_text
from galmorph.tables.formats.base import Format
from galmorph.tables.provenance import flatten_meta, list_differences
from galmorph.tables.writer import Block, T, TableWriter

MAX_NAMED = 5
"""Columns that a message names; an embedding in CSV has hundreds."""

KEY_COLUMNS = ("object_id", "path")
"""What a row is recognized by."""

WAY_OUT = "or name another file, or start anew with --overwrite, which replaces this one"


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
        self, form: Format, path: Path, copy: Copy | None, specs: Sequence[ColumnSpec], **run: Block
    ) -> None:
        super().__init__(specs, run["meta"])
        self.path, self._form, self._copy = copy.url if copy else path, form, copy
        self._names = form.list_names(specs)
        only = {*KEY_COLUMNS, "flags"} if KEY_COLUMNS[0] in self._names else None
        with copy.naming() if copy else nullcontext(), self._reading():
            self._reader = form.reader(Path(copy.path) if copy else path, KEY_COLUMNS, only)
            if copy:
                self._reader.name, self._reader.copy = copy.url, copy
            if form.provenance and self._reader.provenance is None:
                raise CatalogueError(f"{self.path}: it has no provenance")
        self._reader.restore = self._reader.spelled or self._reader.restore
        if differences := self._list_differences(**run):
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

    def _list_differences(self, meta: Block, fingerprint: Block) -> list[str]:
        """Say where the run that made it differs; what is in `meta` alone may."""
        recorded = list(self._reader.specs) or self._names
        different = _name_columns(self._names, recorded, "not in the file")
        different += _name_columns(recorded, self._names, "no longer made")
        if not self._form.provenance:
            return different
        free = {key for key in meta if key not in fingerprint} | {STRINGS_KEY}
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
    more = f" and {len(lost) - MAX_NAMED} more" if len(lost) > MAX_NAMED else ""
    return [f"column {', '.join(lost[:MAX_NAMED])}{more}: {what}"] if lost else []


def _as_text(mapping: Mapping[str, Any]) -> dict[str, str]:
    """Entries in the one form that every format gives back."""
    flat = flatten_meta(mapping)
    text = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in flat.items()}
    return {key: xml_text(restore(value)).strip() for key, value in text.items()}
