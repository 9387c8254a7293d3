"""CSV and TSV, with vectors spread over ``e_000``, ``e_001``, ..., and Enhanced CSV (APE 6)."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError, TableFormatError
from galmorph.tables.cells import Values, format_vector, normalize, to_digits
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import (
    STRINGS_KEY,
    STRINGS_NOTE,
    escape_lines,
    guard,
    guard_guarded,
    readable,
    unescape,
)
from galmorph.tables.formats.base import Format, make_spec
from galmorph.tables.formats.text import MAX_LINE, TextReader, join_rows, write_rows
from galmorph.tables.journal import Journal
from galmorph.tables.provenance import flatten_meta


def vector_names(spec: ColumnSpec) -> list[str]:
    """Names of the columns of CSV that hold a vector, as e_000, e_001 and so on."""
    stem = "e" if spec.name == "embedding" else spec.name
    digits = max(3, len(str(spec.shape[0] - 1)))
    return [f"{stem}_{index:0{digits}d}" for index in range(spec.shape[0])]


def list_names(specs: Sequence[ColumnSpec]) -> list[str]:
    """Names of the columns in CSV."""
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


def make_header(specs: Sequence[ColumnSpec], meta: Mapping[str, Any]) -> list[str]:
    """YAML lines of the header of ECSV, without the leading "# " and the line of names."""
    from astropy.io.misc import yaml

    header = {
        "delimiter": ",",
        "datatype": list(map(_describe, specs)),
        "meta": {**flatten_meta(meta), STRINGS_KEY: STRINGS_NOTE},
        "schema": "astropy-2.0",
    }
    return ["%ECSV 1.0", "---", *yaml.dump(header, sort_keys=False, width=MAX_LINE).splitlines()]


def _describe(spec: ColumnSpec) -> dict[str, Any]:
    facts = {
        "name": spec.name,
        "unit": spec.unit,
        "datatype": "string" if spec.is_text or spec.shape else spec.dtype,
        "subtype": spec.kind if spec.shape else "",
        "description": spec.description,
        "meta": {"ucd": spec.ucd} if spec.ucd else {},
    }
    return {key: value for key, value in facts.items() if value}


def _spell_csv(texts: Sequence[str], *, safe: bool) -> Sequence[str]:
    joined = "".join(texts)
    if joined.isascii() and not safe and "\\" not in joined and "'" not in joined:
        return texts
    cells = [readable(guard_guarded(text)) for text in texts]
    return list(map(guard, cells)) if safe else cells


def _cells(
    values: Values, spell: Callable[[Sequence[str]], Sequence[str]], vector: str, nan: str
) -> Sequence[str]:
    if isinstance(values, list):
        return spell(values)
    if values.ndim == 1:
        return to_digits(values)
    rows = (format_vector(row, ",").replace("nan", nan) for row in np.ma.getdata(values))
    return [vector % row for row in rows]


def to_text(columns: Sequence[Values], specs: Sequence[ColumnSpec], *, safe: bool = False) -> str:
    """Rows of a CSV file; a vector brings its own commas."""
    cells = [_cells(values, partial(_spell_csv, safe=safe), "%s", "") for values in columns]
    return join_rows(cells, [not spec.is_text for spec in specs])


def write(rows: Journal, meta: Mapping[str, Any], path: Path, *, safe: bool = False) -> None:
    """Write comma-separated values; provenance has no place there."""
    names = join_rows([[name] for name in list_names(rows.specs)])
    write_rows(path, names, (to_text(v, rows.specs, safe=safe) for v in rows.values()))


def write_ecsv(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write the header and comma-separated values."""
    names = join_rows([[spec.name] for spec in rows.specs])
    head = "".join(f"# {line}\n" for line in make_header(rows.specs, meta)) + names
    bare = [not spec.is_text for spec in rows.specs]
    lines = (
        join_rows([_cells(values, escape_lines, '"[%s]"', "NaN") for values in columns], bare)
        for columns in rows.values()
    )
    write_rows(path, head, lines)


class EcsvReader(TextReader):
    """Rows of text whose header says the types."""

    def _open(self) -> dict[str, ColumnSpec | None]:
        from astropy.table.meta import get_header_from_yaml

        lines = self.comments()
        if not lines or not lines[0].strip().startswith("%ECSV"):
            return super()._open()
        header = get_header_from_yaml([line.removeprefix(" ") for line in lines])
        columns = header["datatype"]
        self.delimiter = header.get("delimiter", " ")
        self.provenance = dict(header.get("meta") or {})
        self.restore = unescape if STRINGS_KEY in self.provenance else str
        self.spelled = None
        if self.names() != [column["name"] for column in columns]:
            raise CatalogueError(f"{self.path}: the names in the header and the first row differ")
        return {column["name"]: _declared_spec(column) for column in columns}

    def values(self, cells: Sequence[str], spec: ColumnSpec) -> Values:
        """Values of one column."""
        if spec.shape:
            vectors = [json.loads(cell) if cell else None for cell in cells]
            if spec.is_float:
                vectors = [row and [math.nan if x is None else x for x in row] for row in vectors]
            return normalize(vectors, spec)
        return super().values(cells, spec)


def _declared_spec(column: dict[str, Any]) -> ColumnSpec | None:
    kind = column.get("subtype") or column["datatype"]
    dtype, bracket, size = kind.rstrip("]").partition("[")
    if bracket and not size.isdigit():
        return None
    facts = {**column, **(column.get("meta") or {})}
    return make_spec(column["name"], dtype, (int(size),) if bracket else (), facts)


FORMAT = Format(
    *("CSV", (".csv",), EcsvReader, write), provenance=False, check=_check, list_names=list_names
)
SAFE = replace(FORMAT, write=partial(write, safe=True))
TSV = Format("TSV", (".tsv",), EcsvReader)
ECSV = Format("ECSV", (".ecsv",), EcsvReader, write_ecsv)
