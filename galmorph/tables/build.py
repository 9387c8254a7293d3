"""Results in memory: columns of values to an astropy table, and back to what they mean."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galmorph.quantities import plain
from galmorph.tables.cells import Values, join_values, normalize
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.journal import read_journal

if TYPE_CHECKING:
    from astropy.table import Column, Table

SHOWN = "%.3f"  # how probabilities are shown; their values stay whole


def build_table(
    specs: Sequence[ColumnSpec], columns: Mapping[str, Any], meta: Mapping[str, Any] | None = None
) -> "Table":
    """Make a table with units, descriptions, UCDs (``meta["ucd"]`` of a column) and provenance.

    None and masked values are missing: "" in strings, NaN in floats, masked in whole numbers and
    booleans. So ``table["label"] == "spiral"`` is a plain boolean array.
    """
    from galmorph.tables.result_table import ResultTable

    absent = [spec.name for spec in specs if spec.name not in columns]
    if absent:
        raise ValueError(f"the columns {absent} are absent")
    made = [_column(normalize(columns[spec.name], spec), spec) for spec in specs]
    return ResultTable(made, meta=plain(meta or {}), copy=False)


def _column(values: Values, spec: ColumnSpec) -> "Column":
    from astropy.table import Column, MaskedColumn

    data = np.array(values, dtype=np.str_) if isinstance(values, list) else values
    kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else Column
    return kind(
        data,
        name=spec.name,
        unit=spec.unit or None,
        description=spec.description or None,
        format=SHOWN if spec.ucd.startswith("stat.probability") else None,
        meta={"ucd": spec.ucd} if spec.ucd else {},
    )


def read_partial(path: str | os.PathLike[str]) -> "Table":
    """Read what a killed or running run has written so far.

    Parameters
    ----------
    path : path-like
        A file named ``*.partial``.

    Returns
    -------
    astropy.table.Table
        Whole rows only; those that are torn, damaged or being written are left out.

    Raises
    ------
    ResumeError
        Where the file is no partial result of galmorph.
    """
    specs, fingerprint, rows = read_journal(Path(path))
    columns = {spec.name: join_values([row[k] for row in rows]) for k, spec in enumerate(specs)}
    return build_table(specs, columns, {"fingerprint": fingerprint})
