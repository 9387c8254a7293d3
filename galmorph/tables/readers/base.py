"""What every reader of tables gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.tables.cells import Values
from galmorph.tables.columns import ColumnSpec

__all__ = ["CHUNK_ROWS", "TableReader", "unreadable"]

CHUNK_ROWS = 8192
"""Rows that are read at once."""


def unreadable(path: Path, error: Exception) -> CatalogueError:
    """The error for a file that its parser refuses.

    Parameters
    ----------
    path : Path
    error : Exception

    Returns
    -------
    CatalogueError
    """
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return CatalogueError(f"{path}: cannot be read as a table: {reason}")


class TableReader(ABC):
    """Columns and rows of one table.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    specs : mapping of str to ColumnSpec or None
        In order; None where no output format can hold the column. Those of vectors of whole numbers
        do not know of gaps before `leave_out_gaps`.
    remark : str
        What may explain that a column is missing; "" for nothing.
    """

    specs: Mapping[str, ColumnSpec | None]
    remark = ""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def chunks(self) -> Iterator[dict[str, Values]]:
        """Read from the first row; may be repeated.

        Yields
        ------
        dict of str to (list of str or ndarray)
            Columns that have a spec, as `galmorph.tables.cells.normalize` gives them.

        Raises
        ------
        CatalogueError
            Where the rows cannot be read.
        """

    def leave_out_gaps(self) -> None:
        """Set the specs of vectors of whole numbers with gaps to None: no format has a gap there.

        Where there are such vectors, they are all read for it.

        Raises
        ------
        CatalogueError
            Where the rows cannot be read.
        """
        specs = self.specs
        names = {name for name, s in specs.items() if s and s.shape and not s.is_float}
        if not names:
            return
        self.specs = {name: spec if name in names else None for name, spec in specs.items()}
        gaps = {name for chunk in self.chunks() for name, v in chunk.items() if np.ma.is_masked(v)}
        self.specs = {name: None if name in gaps else spec for name, spec in specs.items()}
