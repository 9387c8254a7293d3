"""CSV and ECSV.

CSV has no vectors: each is spread over columns, ``embedding`` over ``e_000``, ``e_001``, ...
ECSV has them as JSON lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.tables.cells import Values, format_vector, from_cells
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import readable, unescape
from galmorph.tables.journal import Journal
from galmorph.tables.lines import join_rows, make_header, quote_column
from galmorph.tables.provenance import flatten_meta

__all__ = ["csv_names", "csv_text", "vector_names", "write_csv", "write_ecsv"]

Cells = Sequence[str]


def vector_names(spec: ColumnSpec) -> list[str]:
    """Names of the columns that hold a vector in CSV.

    Parameters
    ----------
    spec : ColumnSpec
        A vector.

    Returns
    -------
    list of str

    Examples
    --------
    >>> vector_names(ColumnSpec("embedding", "float32", shape=(3,)))
    ['e_000', 'e_001', 'e_002']
    """
    stem = "e" if spec.name == "embedding" else spec.name
    digits = max(3, len(str(spec.shape[0] - 1)))
    return [f"{stem}_{index:0{digits}d}" for index in range(spec.shape[0])]


def csv_names(specs: Sequence[ColumnSpec]) -> str:
    """First line of a CSV file.

    Parameters
    ----------
    specs : sequence of ColumnSpec

    Returns
    -------
    str
    """
    names = [name for spec in specs for name in (vector_names(spec) if spec.shape else [spec.name])]
    return join_rows([[name] for name in names])


def _spread(cells: Cells, spec: ColumnSpec) -> Cells:
    vectors: Values = from_cells(cells, spec)
    rows = [format_vector(row, ",") for row in np.asarray(vectors)]
    return [row.replace("nan", "") for row in rows]


def _plain(cells: Cells) -> Cells:
    return [readable(unescape(cell)) for cell in cells] if "%" in "".join(cells) else cells


def csv_text(columns: Sequence[Cells], specs: Sequence[ColumnSpec]) -> str:
    """Rows of a CSV file.

    Parameters
    ----------
    columns : sequence of sequence of str
        Cells as the journal holds them.
    specs : sequence of ColumnSpec

    Returns
    -------
    str
    """
    plain = [_plain(c) if spec.is_text else c for c, spec in zip(columns, specs, strict=True)]
    if not any(spec.shape for spec in specs):
        return join_rows(plain)
    # A spread vector holds its own commas, so it must not be quoted: join it by hand.
    parts = [
        _spread(cells, spec) if spec.shape else quote_column(cells)
        for cells, spec in zip(plain, specs, strict=True)
    ]
    return "".join([",".join(row) + "\n" for row in zip(*parts, strict=True)])


def _json_lists(cells: Cells, spec: ColumnSpec) -> Cells:
    vectors = np.asarray(from_cells(cells, spec))
    return [f"[{format_vector(row, ',').replace('nan', 'NaN')}]" for row in vectors]


def write_csv(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write comma-separated values; provenance has no place there.

    Parameters
    ----------
    rows : Journal
    meta : mapping
    path : Path
    """
    with path.open("wb") as file:
        file.write(csv_names(rows.specs).encode())
        if any(spec.shape for spec in rows.specs):
            file.writelines(csv_text(columns, rows.specs).encode() for columns in rows.cells())
            return
        for chunk in rows.raw_chunks():
            file.write(_decode_names(rows, chunk) if b"%" in chunk else chunk)


def _decode_names(rows: Journal, chunk: bytes) -> bytes:
    return csv_text(rows.split(chunk.splitlines(keepends=True)), rows.specs).encode()


def write_ecsv(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write Enhanced CSV, with units, descriptions, UCDs and provenance in its header.

    Parameters
    ----------
    rows : Journal
    meta : mapping
    path : Path
    """
    lines = make_header(rows.specs, flatten_meta(meta))
    head = "".join(f"# {line}\n" for line in lines) + join_rows([[s.name] for s in rows.specs])
    with path.open("wb") as file:
        file.write(head.encode())
        if any(spec.shape for spec in rows.specs):
            file.writelines(_ecsv_text(columns, rows.specs).encode() for columns in rows.cells())
        else:
            file.writelines(rows.raw_chunks())


def _ecsv_text(columns: Sequence[Cells], specs: Sequence[ColumnSpec]) -> str:
    cells = [_json_lists(c, s) if s.shape else c for c, s in zip(columns, specs, strict=True)]
    return join_rows(cells)
