"""VOTable; the first table of the file, read whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.tables.build import column_spec
from galmorph.tables.cells import Values, normalize
from galmorph.tables.readers.base import CHUNK_ROWS, TableReader, unreadable

__all__ = ["VotableReader"]


class VotableReader(TableReader):
    """Rows of a VOTable.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CatalogueError
        Where the file is no VOTable or holds no table.
    """

    def __init__(self, path: Path) -> None:
        from astropy.io.votable import parse

        super().__init__(path)
        try:
            first = parse(path, verify="ignore").get_first_table()
            self._table = first.to_table(use_names_over_ids=True)
        except Exception as error:  # the XML parsers have errors of many kinds
            raise unreadable(path, error) from error
        for name in self._table.colnames:
            if self._table[name].dtype == object:
                self._table.replace_column(name, _as_strings(self._table[name]))
        self.specs = {name: column_spec(self._table[name]) for name in self._table.colnames}

    def chunks(self) -> Iterator[dict[str, Values]]:
        """Read from the first row; see `TableReader.chunks`."""
        for start in range(0, len(self._table), CHUNK_ROWS):
            rows = self._table[start : start + CHUNK_ROWS]
            yield {name: normalize(rows[name], spec) for name, spec in self.specs.items() if spec}


def _as_strings(column: Any) -> Any:
    """Strings of unknown length come as objects; anything else stays as it is."""
    values = column.filled("") if hasattr(column, "filled") else column
    if not all(isinstance(value, str) for value in values):
        return column
    made = type(column)(np.array(list(values), dtype=np.str_), name=column.name)
    made.unit, made.description, made.meta = column.unit, column.description, column.meta
    return made
