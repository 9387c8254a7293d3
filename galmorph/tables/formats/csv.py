"""CSV and TSV. CSV has no vectors: ``embedding`` is spread over ``e_000``, ``e_001``, ..."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import TableFormatError
from galmorph.tables.cells import Values, format_vector, to_digits
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import guard, guard_guarded, readable
from galmorph.tables.formats.base import Format
from galmorph.tables.formats.ecsv import EcsvReader
from galmorph.tables.formats.text import join_rows, write_rows
from galmorph.tables.journal import Journal


def vector_names(spec: ColumnSpec) -> list[str]:
    """Names of the columns that hold a vector.

    >>> vector_names(ColumnSpec("embedding", "float32", shape=(3,)))
    ['e_000', 'e_001', 'e_002']
    """
    stem = "e" if spec.name == "embedding" else spec.name
    digits = max(3, len(str(spec.shape[0] - 1)))
    return [f"{stem}_{index:0{digits}d}" for index in range(spec.shape[0])]


def list_names(specs: Sequence[ColumnSpec]) -> list[str]:
    """Names of the columns in the file."""
    return [name for spec in specs for name in (vector_names(spec) if spec.shape else [spec.name])]


def _check(specs: Sequence[ColumnSpec]) -> None:
    """Refuse a column of the name of one that a vector is spread over."""
    for name, count in Counter(list_names(specs)).items():
        if count > 1:
            vector = next(spec.name for spec in specs if spec.shape and name in vector_names(spec))
            raise TableFormatError(
                f"CSV spreads the vector {vector} over columns, of which {name} is there "
                "already; rename one of both, or write .ecsv, .fits or .parquet"
            )


def to_text(columns: Sequence[Values], specs: Sequence[ColumnSpec], *, safe: bool = False) -> str:
    """Rows of a CSV file."""
    cells = [_cells(values, safe) for values in columns]
    return join_rows(cells, [not spec.is_text for spec in specs])


def _cells(values: Values, safe: bool) -> Sequence[str]:
    if isinstance(values, list):
        joined = "".join(values)
        if joined.isascii() and not safe and "\\" not in joined and "'" not in joined:
            return values
        cells = [readable(guard_guarded(text)) for text in values]
        return list(map(guard, cells)) if safe else cells
    if values.ndim > 1:  # it brings its own commas
        return [format_vector(row, ",").replace("nan", "") for row in np.ma.getdata(values)]
    return to_digits(values)


def write(rows: Journal, meta: Mapping[str, Any], path: Path, *, safe: bool = False) -> None:
    """Write comma-separated values; provenance has no place there."""
    names = join_rows([[name] for name in list_names(rows.specs)])
    write_rows(path, names, (to_text(v, rows.specs, safe=safe) for v in rows.values()))


FORMAT = Format(
    "CSV",
    (".csv",),
    EcsvReader,
    write,
    provenance=False,
    check=_check,
    list_names=list_names,
)
SAFE = replace(FORMAT, write=partial(write, safe=True))
TSV = Format("TSV", (".tsv",), EcsvReader)
