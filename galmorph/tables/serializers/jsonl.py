"""JSON Lines: one object per row; what is missing, NaN or infinite is null; vectors are arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.tables.cells import format_vector, from_cells
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import readable, unescape
from galmorph.tables.journal import Journal

__all__ = ["write_jsonl"]

_NOT_JSON = re.compile("nan|-?inf")


def _string(cell: str) -> str:
    return json.dumps(readable(unescape(cell)), ensure_ascii=False) if cell else "null"


def _cells(cells: Sequence[str], spec: ColumnSpec) -> list[str]:
    if spec.is_text:
        return [_string(cell) for cell in cells]
    if spec.shape:
        rows = [format_vector(row, ",") for row in np.asarray(from_cells(cells, spec))]
        return [f"[{_NOT_JSON.sub('null', row)}]" for row in rows]
    if spec.dtype == "bool":
        return [cell.lower() or "null" for cell in cells]
    return [_NOT_JSON.sub("null", cell) if cell else "null" for cell in cells]


def _lines(rows: Journal) -> Iterator[str]:
    keys = [json.dumps(spec.name, ensure_ascii=False) for spec in rows.specs]
    line = "{" + ",".join(key.replace("%", "%%") + ":%s" for key in keys) + "}\n"
    for columns in rows.cells():
        cells = [_cells(c, spec) for c, spec in zip(columns, rows.specs, strict=True)]
        yield "".join([line % row for row in zip(*cells, strict=True)])


def write_jsonl(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write one JSON object per row; provenance has no place there.

    Parameters
    ----------
    rows : Journal
    meta : mapping
    path : Path
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_lines(rows))
