"""A finished result, read again: its columns, some of its rows, its embeddings."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import CatalogueError
from galmorph.remote import is_url
from galmorph.tables.cells import Values, join_values
from galmorph.tables.formats import bring_table, open_reader
from galmorph.tables.formats.base import TableInMemory, TableReader
from galmorph.tables.provenance import nest_meta
from galmorph.tables.writers import KEY_COLUMNS

VECTOR = "embedding"
TEXTS = (*KEY_COLUMNS, "label", "message")  # also where all are empty, as CSV may have them
_SPREAD = re.compile(r"e_[0-9]{3,}")  # the embedding in CSV


class SavedRun:
    """A result of ``classify`` or ``embed``: a file, a folder of Parquet files, or a table."""

    def __init__(self, run: Any) -> None:
        is_path = isinstance(run, str | os.PathLike)
        self._copy = bring_table(run) if is_url(run) else None
        self.path = Path(self._copy.path if self._copy else os.fspath(run)) if is_path else None
        self.name = run if is_url(run) else str(self.path or "the table")
        self._table = run
        first = self._open()
        self.provenance = nest_meta(first.provenance or {})
        self.specs = {name: spec for name, spec in first.specs.items() if spec is not None}
        self._spread = sorted((n for n in self.specs if _SPREAD.fullmatch(n)), key=lambda n: n[2:])
        if KEY_COLUMNS[0] not in self.specs:
            raise CatalogueError(
                f"{self.name}: has no column object_id; it is no result of galmorph classify, or "
                "of embed in a format with names (.npz, .parquet, .fits)"
            )

    def _open(self, only: Iterable[str] | None = None) -> TableReader:
        names = None if only is None else set(only)
        if self.path is None:
            return TableInMemory(self._table, only=names)
        return open_reader(self.path, exact=TEXTS, only=names)

    def _read(self, names: Iterable[str]) -> Iterator[dict[str, Values]]:
        """Chunks of columns; identifiers are text, also where CSV has numbers for them."""
        for chunk in self._open(names).chunks():
            yield {n: list(map(str, v)) if n in KEY_COLUMNS else v for n, v in chunk.items()}

    @property
    def plain(self) -> list[str]:
        """Names of all columns but the embedding."""
        vectors = {VECTOR, *self._spread}
        return [name for name in self.specs if name not in vectors]

    def columns(self, names: Iterable[str]) -> dict[str, Values]:
        """Whole columns, as `normalize` gives them; those that are not there are left out."""
        wanted = [name for name in dict.fromkeys(names) if name in self.specs]
        chunks = list(self._read(wanted))
        return {name: join_values([chunk[name] for chunk in chunks]) for name in wanted}

    def rows(self, places: Sequence[int]) -> dict[str, Values]:
        """All columns but the embedding, of some rows, in the order given."""
        order = np.argsort(places, kind="stable")
        inverse = np.argsort(order)
        ordered = np.asarray(places, dtype=np.int64)[order]
        parts, start = [], 0
        for chunk in self._read(self.plain):
            count = len(next(iter(chunk.values())))
            first, last = np.searchsorted(ordered, (start, start + count))
            parts.append({n: _take(v, ordered[first:last] - start) for n, v in chunk.items()})
            start += count
        joined = {name: join_values([part[name] for part in parts]) for name in self.plain}
        return {name: _take(values, inverse) for name, values in joined.items()}

    @property
    def has_embeddings(self) -> bool:
        """Whether there is a column of them, or the many columns of CSV."""
        spec = self.specs.get(VECTOR)
        return bool(self._spread or (spec is not None and spec.shape))

    @cached_property
    def num_features(self) -> int:
        """Length of the embedding; a CatalogueError where there is none."""
        if not self.has_embeddings:
            raise CatalogueError(
                f"{self.name}: holds no embeddings; run galmorph classify with --with-embedding, "
                "or galmorph embed"
            )
        wrong = [name for name in self._spread if self.specs[name].is_text]
        if wrong:
            raise CatalogueError(f"{self.name}: column {wrong[0]} must hold numbers")
        return len(self._spread) or self.specs[VECTOR].shape[0]

    def embeddings(self) -> Iterator[npt.NDArray[np.float32]]:
        """Embeddings from the first row, (some, num_features) at a time."""
        names = self._spread or [VECTOR]
        _ = self.num_features
        for chunk in self._open(names).chunks():
            parts: Any = [np.asarray(chunk[name], dtype=np.float32) for name in names]
            yield np.stack(parts, axis=1) if self._spread else parts[0]


def list_rows(columns: Mapping[str, Values]) -> list[dict[str, Any]]:
    """Columns as rows."""
    lists = [v if isinstance(v, list) else v.tolist() for v in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _take(values: Values, places: npt.NDArray[Any]) -> Values:
    return [values[k] for k in places] if isinstance(values, list) else values[places]
