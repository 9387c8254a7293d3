"""The astropy table of a result, whose own ``write`` keeps all that it knows."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from astropy.io import registry
from astropy.table import Table

from galmorph.tables.formats import ecsv, fits, parquet, votable
from galmorph.tables.writers import write_table


class ResultTable(Table):  # type: ignore[misc]
    """A table; ``write`` to FITS, VOTable, ECSV and Parquet goes through `write_table`."""


def _write(table: Table, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    if os.path.exists(path) and not overwrite:
        raise OSError(f"{os.fspath(path)}: is there already; to replace it, say overwrite=True")
    write_table(table, path)


def _identify(origin: str, path: Any, /, *_: Any, suffixes: tuple[str, ...], **__: Any) -> bool:
    return origin == "write" and str(path or "").lower().endswith(suffixes)


for _form, _name in (
    (fits.FORMAT, "fits"),
    (votable.FORMAT, "votable"),
    (ecsv.FORMAT, "ascii.ecsv"),
    (parquet.FORMAT, "parquet"),
):
    registry.register_writer(_name, ResultTable, _write)
    registry.register_identifier(_name, ResultTable, partial(_identify, suffixes=_form.suffixes))
