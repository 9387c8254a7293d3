"""The rows of a run in memory: columns, embeddings, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
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
PATIENCE = 0.5  # seconds that the page waits for embeddings; later ones come to it

Array = npt.NDArray[Any]


@dataclass
class Galaxies:
    """A run: columns (n,), and its embeddings, which may still be on their way.

    `learnt` is what the labels gave last, whose shares are among the columns.
    """

    name: str
    columns: dict[str, Array]
    meta: Mapping[str, Any] = field(default_factory=dict)
    run: SavedRun | None = None
    laid: Future[Array] | None = None
    """The embeddings, once they are laid beside the run; None where there are none."""
    alike: Future[Array] | None = None
    """What tells which galaxies look alike, (n, k)."""
    learnt: Any = None

    def __post_init__(self) -> None:
        absent = [name for name in NEEDED if name not in self.columns]
        if absent:
            raise CatalogueError(f"{self.name}: no result of galmorph (no {absent[0]}); {WAY_OUT}")

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
    def embeddings(self) -> Array:
        """In float16, (n, d); waits for them."""
        assert self.laid is not None  # else nothing is offered that needs them
        return self.laid.result()

    @cached_property
    def encoded(self) -> Array:
        """Which galaxies have an embedding, (n,)."""
        finite = [np.isfinite(part[:, 0]) for _, part in list_parts(self.embeddings)]
        return np.concatenate([*finite, np.empty(0, dtype=bool)])

    @cached_property
    def place(self) -> Path | None:
        """File of the embeddings, beside which maps are kept."""
        return find_place(self.run) if self.run else None

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
    columns = {name: _plain(values) for name, values in run.columns(run.plain).items()}
    scalar = {name: values for name, values in columns.items() if values.ndim == 1}
    waiting: list[Future[Array]] = []
    beside = ThreadPoolExecutor(1)
    if run.has_embeddings:
        weighting = load_weighting(run)
        waiting = [beside.submit(map_embeddings, run, each) for each in (None, weighting)]
    beside.shutdown(wait=False)
    galaxies = Galaxies(run.name, scalar, run.provenance, run, *waiting)
    for each in wait(waiting, PATIENCE).done:
        each.result()  # what is wrong with them is said
    return galaxies


def _plain(values: Any) -> Array:
    """Text as objects, NaN for what is missing among numbers, native byte order."""
    if isinstance(values, list):
        return np.array(values, dtype=object)
    if np.ma.isMaskedArray(values) and values.dtype.kind == "f":
        values = values.filled(np.nan)
    array = np.ma.getdata(values)
    if array.dtype.kind in "US":
        return array.astype(np.str_).astype(object)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
