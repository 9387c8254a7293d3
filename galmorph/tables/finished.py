"""A finished result, read back to tell whether it is the one that a run would make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from galmorph.errors import CatalogueError, ResumeError
from galmorph.flags import NO_LABEL
from galmorph.tables.cells import Values, missing_values
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import STRINGS_KEY, restore, xml_text
from galmorph.tables.formats.base import Format
from galmorph.tables.provenance import flatten_meta, list_differences

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
    ids, paths = (_texts(columns[name]) for name in KEY_COLUMNS)
    flags = columns.get("flags")
    failed = repeat(False)
    if flags is not None:
        whole = np.ma.filled(np.ma.asarray(flags), 0).astype(np.int64)
        failed = iter((whole & NO_LABEL.value != 0).tolist())
    return (DoneRow((i, p), f) for i, p, f in zip(ids, paths, failed, strict=False))


def _texts(values: Values) -> list[str]:
    return values if isinstance(values, list) else list(map(str, values.tolist()))


class FinishedTable:
    """What a finished result tells of its run; a file that is none is a `ResumeError`."""

    def __init__(self, path: Path, form: Format, specs: Sequence[ColumnSpec]) -> None:
        self._path, self._form = path, form
        self._names = form.list_names(specs)
        keyed = KEY_COLUMNS[0] in self._names
        with self._reading():
            only = {*KEY_COLUMNS, "flags"} if keyed else None
            self._reader = form.reader(path, KEY_COLUMNS, only)
            if self._reader.spelled:
                self._reader.restore = self._reader.spelled
            if form.provenance and self._reader.provenance is None:
                raise CatalogueError(f"{path}: it has no provenance")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except CatalogueError as error:
            reason = str(error).removeprefix(f"{self._path}: ")
            raise ResumeError(
                f"{self._path}: a file of this name is there already, and it is no whole result of "
                f"galmorph ({reason}); move it away, {WAY_OUT}"
            ) from error

    def rows(self) -> Iterator[DoneRow]:
        """Its rows, in order."""
        with self._reading():
            for chunk in self._reader.chunks():
                yield from list_done(chunk)

    def list_differences(
        self, fingerprint: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> list[str]:
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
