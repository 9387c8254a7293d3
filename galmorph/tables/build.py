"""Results in memory: columns of values to an astropy table, and back to what they mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galmorph.errors import ResumeError, TableFormatError
from galmorph.tables.cells import Values, from_cells, normalize
from galmorph.tables.columns import DTYPES, ColumnSpec, nearest_dtype
from galmorph.tables.journal import read_record
from galmorph.tables.lines import split_rows
from galmorph.tables.provenance import plain

if TYPE_CHECKING:
    from astropy.table import Column, Table

__all__ = ["build_table", "column_spec", "read_partial", "table_specs"]


def build_table(
    specs: Sequence[ColumnSpec], columns: Mapping[str, Any], meta: Mapping[str, Any] | None = None
) -> Table:
    """Make a table with units, descriptions, UCDs and provenance.

    Parameters
    ----------
    specs : sequence of ColumnSpec
        Columns, in order.
    columns : mapping of str to sequence
        One sequence per column, all of one length; vectors as (n, d). None and masked values are
        missing: "" in strings, NaN in floats, masked in whole numbers and booleans.
    meta : mapping, optional
        Provenance, may be nested, and is so in the table: keys with points in them are no FITS.

    Returns
    -------
    astropy.table.Table
        Unicode strings, native byte order, the UCD of a column as ``table["ra"].meta["ucd"]``.
        A row without a label has label "" and NaN probabilities, unmasked, so that
        ``table["label"] == "spiral"`` is a plain boolean array.

    Raises
    ------
    ValueError
        Where a column is absent or has values that it cannot hold.
    """
    from astropy.table import Table

    absent = [spec.name for spec in specs if spec.name not in columns]
    if absent:
        raise ValueError(f"the columns {absent} are absent")
    made = [_column(normalize(columns[spec.name], spec), spec) for spec in specs]
    return Table(made, meta=plain(meta or {}), copy=False)


def _column(values: Values, spec: ColumnSpec) -> Column:
    from astropy.table import Column, MaskedColumn

    data = np.array(values, dtype=np.str_) if isinstance(values, list) else values
    kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else Column
    return kind(
        data,
        name=spec.name,
        unit=spec.unit or None,
        description=spec.description or None,
        meta={"ucd": spec.ucd} if spec.ucd else {},
    )


def column_spec(column: Column) -> ColumnSpec | None:
    """What an astropy column says of itself.

    Parameters
    ----------
    column : astropy.table.Column, or Quantity of a QTable

    Returns
    -------
    ColumnSpec or None
        None where no output format can hold the values (objects, coordinates, times, complex
        numbers, several axes).
    """
    if not hasattr(column, "dtype"):
        return None
    dtype = "str" if column.dtype.kind in "SU" else column.dtype.newbyteorder("=").name
    dtype = nearest_dtype(dtype)
    shape = tuple(column.shape[1:])
    if dtype not in DTYPES or len(shape) > 1 or (shape and dtype in ("str", "bool")):
        return None
    info = column.info
    ucd = (info.meta or {}).get("ucd") or getattr(info, "ucd", None) or ""
    unit = "" if info.unit is None else str(info.unit)
    return ColumnSpec(info.name, dtype, unit, str(ucd), info.description or "", shape)


def table_specs(table: Table) -> tuple[ColumnSpec, ...]:
    """Columns of a table in memory.

    Parameters
    ----------
    table : astropy.table.Table

    Returns
    -------
    tuple of ColumnSpec

    Raises
    ------
    TableFormatError
        Where no output format can hold a column.
    """
    specs = {name: column_spec(table[name]) for name in table.colnames}
    refused = [name for name, spec in specs.items() if spec is None]
    if refused:
        raise TableFormatError(
            f"the columns {refused} are of types that no output can hold; make numbers or text of "
            "them, or leave them out"
        )
    return tuple(spec for spec in specs.values() if spec is not None)


def read_partial(path: str | os.PathLike[str]) -> Table:
    """Read what a killed or running run has written so far.

    Parameters
    ----------
    path : path-like
        A file named ``*.partial.ecsv``.

    Returns
    -------
    astropy.table.Table
        Whole rows only; a row that is being written is left out. Vectors are decoded.

    Raises
    ------
    ResumeError
        Where the file is no partial result of galmorph.
    """
    with Path(path).open("rb") as file:
        try:
            record = read_record(file)
            specs = [ColumnSpec(**{**s, "shape": tuple(s["shape"])}) for s in record["specs"]]
            lines = [line[:-1].decode() for line in file if line.endswith(b"\n")]
            cells = split_rows(lines, len(specs))
        except ValueError as error:
            raise ResumeError(f"{os.fspath(path)}: {error}") from error
    values = {spec.name: from_cells(c, spec) for c, spec in zip(cells, specs, strict=True)}
    return build_table(specs, values, {"fingerprint": record["fingerprint"]})
