"""The rows of a run in memory: columns, embeddings, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import CatalogueError
from galmorph.heads.votes import Question
from galmorph.neighbours.vectors import find_place, list_parts, load_weighting, map_embeddings
from galmorph.saved import SavedRun

MINE = "mine_"  # columns of what was learnt: `mine_<class>`
NEEDED = ("object_id", "path", "flags")
WAY_OUT = "make the table with: galmorph classify IMAGES -o run.parquet --with-embedding"


@dataclass
class Galaxies:
    """A run: columns (n,), embeddings (n, d) in float16 or None, `encoded` (n,) where they are.

    `learnt` is what the labels gave last, whose shares are among the columns.
    """

    name: str
    columns: dict[str, npt.NDArray[Any]]
    embeddings: npt.NDArray[Any] | None
    meta: Mapping[str, Any] = field(default_factory=dict)
    place: Path | None = None  # file of the embeddings, beside which maps are kept
    learnt: Any = None
    run: SavedRun | None = None

    def __post_init__(self) -> None:
        absent = [name for name in NEEDED if name not in self.columns]
        if absent:
            raise CatalogueError(f"{self.name}: no result of galmorph (no {absent[0]}); {WAY_OUT}")
        self.encoded = np.zeros(len(self), dtype=bool)
        if self.embeddings is not None:
            for rows, part in list_parts(self.embeddings):
                self.encoded[rows] = np.isfinite(part[:, 0])

    def __len__(self) -> int:
        return len(self.columns["object_id"])

    @property
    def shares(self) -> dict[str, str]:
        """Column of the share of each class, by the name that is shown."""
        return {name[2:].replace("_", " "): name for name in self.columns if name[:2] == "p_"}

    @cached_property
    def questions(self) -> list[Question]:
        """Of the head of votes that the run was made with, if it was."""
        return [Question.from_dict(each) for each in self.meta.get("questions") or ()]

    @cached_property
    def compared(self) -> npt.NDArray[Any] | None:
        """What tells which galaxies look alike, (n, k)."""
        if self.run is None or self.embeddings is None:
            return self.embeddings
        return map_embeddings(self.run, load_weighting(self.run))

    def list_numbers(self) -> list[str]:
        """Columns of numbers, bit masks left out."""
        kinds = {name: values.dtype.kind for name, values in self.columns.items()}
        return [name for name, kind in kinds.items() if kind in "iuf" and name != "flags"]

    def get(self, name: str, row: int) -> Any:
        """One value, None where the column is not there."""
        return self.columns[name][row] if name in self.columns else None


def open_galaxies(table: Any) -> Galaxies:
    """Read a run from a file, or take it from a table in memory."""
    run = SavedRun(table)
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(map_embeddings, run) if run.has_embeddings else None
        columns = {name: _plain(values) for name, values in run.columns(run.plain).items()}
    scalar = {name: values for name, values in columns.items() if values.ndim == 1}
    embeddings = waiting.result() if waiting else None
    return Galaxies(run.name, scalar, embeddings, run.provenance, find_place(run), run=run)


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
