"""The astropy table of a result, whose own ``write`` keeps all that it knows."""

from __future__ import annotations

import os

from astropy.io import registry
from astropy.table import Table

from galmorph.tables.writers import write_table

__all__ = ["ResultTable"]


class ResultTable(Table):  # type: ignore[misc]
    """A table; ``write`` to FITS, VOTable, ECSV and Parquet goes through `write_table`."""


def _write(table: Table, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    if os.path.exists(path) and not overwrite:
        raise OSError(f"{os.fspath(path)}: is there already; to replace it, say overwrite=True")
    write_table(table, path)


for _format in ("fits", "votable", "ascii.ecsv", "parquet"):
    registry.register_writer(_format, ResultTable, _write)
