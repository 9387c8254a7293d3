"""Read a table of unknown columns, some rows at a time; one module per family of formats."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from galmorph.errors import CatalogueError
from galmorph.tables.readers.base import TableReader

__all__ = ["TableReader", "open_reader"]

_READERS = {
    ".csv": "text:TextReader",
    ".tsv": "text:TextReader",
    ".ecsv": "text:TextReader",
    ".fits": "fits:FitsReader",
    ".fit": "fits:FitsReader",
    ".vot": "votable:VotableReader",
    ".votable": "votable:VotableReader",
    ".xml": "votable:VotableReader",
    ".parquet": "parquet:ParquetReader",
    ".pq": "parquet:ParquetReader",
}
_COMPRESSIBLE = (".csv", ".tsv", ".ecsv", ".fits", ".fit")


def open_reader(path: Path, *, exact: Collection[str] = ()) -> TableReader:
    """Open a table by its suffix.

    Parameters
    ----------
    path : Path
    exact : collection of str
        Columns of names: text formats, where types are guessed, read them as strings rather than
        as floats.

    Returns
    -------
    TableReader

    Raises
    ------
    CatalogueError
        Where the suffix is unknown (the message lists those there are) or the file unreadable.
    MissingExtraError
        Where a package is needed that is not installed.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    zipped = suffixes[-1:] == [".gz"] and suffixes[0] in _COMPRESSIBLE
    suffix = suffixes[0] if zipped else path.suffix.lower()
    if suffix not in _READERS:
        raise CatalogueError(
            f"{path}: no catalogue format has the suffix {path.suffix!r}; use one of "
            f"{', '.join(_READERS)}"
        )
    if not path.is_file():
        raise CatalogueError(f"{path}: there is no such file")
    module, _, name = _READERS[suffix].partition(":")
    reader: Any = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    opened: TableReader = reader(path, exact) if module == "text" else reader(path)
    opened.leave_out_gaps()
    return opened
