"""The rows of a run in memory: columns, embeddings, and where they came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import CatalogueError
from galmorph.tables.formats import open_reader

EXACT_ROWS = 200_000
"""Rows up to which embeddings stay in float32; of more, float16 halves the memory."""

NEEDED = ("object_id", "path", "flags")
WAY_OUT = "make the table with: galmorph classify IMAGES -o run.parquet --with-embedding"
_PART = re.compile("e_[0-9]{3,}")
"""Columns of CSV that hold one number of the embedding each."""


@dataclass
class Galaxies:
    """A run: scalar columns (n,), embeddings (n, d) or None, `encoded` (n,) where they are finite.

    `learnt` is what the labels gave last, whose shares are among the columns.
    """

    name: str
    columns: dict[str, npt.NDArray[Any]]
    embeddings: npt.NDArray[Any] | None
    meta: Mapping[str, Any] = field(default_factory=dict)
    learnt: Any = None

    def __post_init__(self) -> None:
        absent = [name for name in NEEDED if name not in self.columns]
        if absent:
            raise CatalogueError(f"{self.name}: no result of galmorph (no {absent[0]}); {WAY_OUT}")
        self.encoded = np.zeros(len(self), dtype=bool)
        if self.embeddings is not None:
            self.encoded = np.isfinite(self.embeddings).all(axis=1)
            self.embeddings[~self.encoded] = 0

    def __len__(self) -> int:
        return len(self.columns["object_id"])

    @property
    def shares(self) -> dict[str, str]:
        """Column of the share of each class, by the name that is shown."""
        return {name[2:].replace("_", " "): name for name in self.columns if name[:2] == "p_"}

    def list_numbers(self) -> list[str]:
        """Columns of numbers, bit masks left out."""
        kinds = {name: values.dtype.kind for name, values in self.columns.items()}
        return [name for name, kind in kinds.items() if kind in "iuf" and name != "flags"]

    def get(self, name: str, row: int) -> Any:
        """One value, None where the column is not there."""
        return self.columns[name][row] if name in self.columns else None


def open_galaxies(table: Any) -> Galaxies:
    """Read a run from a file, or take it from a table in memory."""
    if hasattr(table, "colnames"):
        found = {name: np.asarray(table[name]) for name in table.colnames}
        return _build("the table", {name: _plain(v) for name, v in found.items()}, table.meta)
    reader = open_reader(Path(table), exact=("object_id", "path"))
    columns: dict[str, list[Any]] = {}
    embeddings = _Growing()
    for chunk in reader.chunks():
        parts = [values for name, values in chunk.items() if _PART.fullmatch(name)]
        if parts or "embedding" in chunk:
            embeddings.add(np.stack(parts, axis=1) if parts else chunk["embedding"])
        for name, values in chunk.items():
            if name != "embedding" and not _PART.fullmatch(name):
                columns.setdefault(name, []).append(_plain(values))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return _build(str(table), joined, reader.provenance or {}, embeddings.finish())


def _build(
    name: str, columns: dict[str, Any], meta: Mapping[str, Any], embeddings: Any = None
) -> Galaxies:
    if "embedding" in columns:
        embeddings = np.array(columns["embedding"], dtype=np.float32)
    scalar = {key: values for key, values in columns.items() if values.ndim == 1}
    return Galaxies(name, scalar, embeddings, meta)


def _plain(values: Any) -> npt.NDArray[Any]:
    """Text as objects, NaN for what is missing among numbers, native byte order."""
    if isinstance(values, list):
        return np.array(values, dtype=object)
    if np.ma.isMaskedArray(values) and values.dtype.kind == "f":
        values = values.filled(np.nan)
    array = np.ma.getdata(values)
    if array.dtype.kind in "US":
        return array.astype(np.str_).astype(object)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


class _Growing:
    """Rows of embeddings, in one array that grows in place."""

    def __init__(self) -> None:
        self.array: npt.NDArray[Any] | None = None
        self.count = 0

    def add(self, values: Any) -> None:
        rows = np.ma.filled(values, np.nan)
        if self.array is None:
            self.array = np.empty((0, rows.shape[1]), dtype=np.float32)
        stop = self.count + len(rows)
        if stop > EXACT_ROWS and self.array.dtype == np.float32:
            self.array = self.array[: self.count].astype(np.float16)
        if stop > len(self.array):
            self.array.resize((stop + stop // 8, rows.shape[1]), refcheck=False)
        self.array[self.count : stop] = rows
        self.count = stop

    def finish(self) -> npt.NDArray[Any] | None:
        return None if self.array is None else self.array[: self.count]
