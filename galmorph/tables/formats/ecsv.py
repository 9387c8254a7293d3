"""Enhanced CSV: units, descriptions, UCDs and provenance in its header, vectors as JSON lists.

https://github.com/astropy/astropy-APEs/blob/main/APE6.rst
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.tables.cells import Values, format_vector, normalize, to_digits
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import STRINGS_KEY, STRINGS_NOTE, escape_lines, unescape
from galmorph.tables.formats.base import Format, make_spec
from galmorph.tables.formats.text import TextReader, join_rows, write_rows
from galmorph.tables.journal import Journal
from galmorph.tables.provenance import flatten_meta

_YAML_UNSAFE = re.compile(r"[^\x20-\x7e]")


def yaml_value(value: Any) -> str:
    """A scalar, list or mapping that JSON knows as YAML in flow style, printable ASCII.

    JSON is YAML but for two things: a surrogate pair of escapes is not one character, and a
    number with an exponent needs a point.
    """
    if isinstance(value, float) and "." not in repr(value):
        return repr(value).replace("e", ".0e")
    text = json.dumps(value, ensure_ascii=False)
    return _YAML_UNSAFE.sub(_yaml_escape, text)


def _yaml_escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _column_entry(spec: ColumnSpec) -> str:
    entry: dict[str, Any] = {"name": spec.name}
    if spec.unit:
        entry["unit"] = spec.unit
    entry["datatype"] = "string" if spec.is_text or spec.shape else spec.dtype
    if spec.shape:
        entry["subtype"] = f"{spec.dtype}{json.dumps(list(spec.shape))}"
    if spec.description:
        entry["description"] = spec.description
    if spec.ucd:
        entry["meta"] = {"ucd": spec.ucd}
    return yaml_value(entry)


def make_header(specs: Sequence[ColumnSpec], meta: Mapping[str, Any]) -> list[str]:
    """YAML lines of the header, without the leading "# " and the line of names; `meta` is flat."""
    meta = {**meta, STRINGS_KEY: STRINGS_NOTE}
    pairs = ", ".join(f"{yaml_value(key)}: {yaml_value(value)}" for key, value in meta.items())
    return [
        "%ECSV 1.0",
        "---",
        "delimiter: ','",
        "datatype:",
        *(f"- {_column_entry(spec)}" for spec in specs),
        f"meta: {{{pairs}}}",
        "schema: astropy-2.0",
    ]


def _cells(values: Values) -> Sequence[str]:
    if isinstance(values, list):
        return escape_lines(values)
    if values.ndim > 1:
        rows = np.ma.getdata(values)
        return [f'"[{format_vector(row, ",").replace("nan", "NaN")}]"' for row in rows]
    return to_digits(values)


def write(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write the header and comma-separated values."""
    names = join_rows([[spec.name] for spec in rows.specs])
    head = "".join(f"# {line}\n" for line in make_header(rows.specs, flatten_meta(meta))) + names
    bare = [not spec.is_text for spec in rows.specs]
    write_rows(path, head, (join_rows(list(map(_cells, c)), bare) for c in rows.values()))


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
            return normalize(list(map(_fill_nan, vectors)) if spec.is_float else vectors, spec)
        return super().values(cells, spec)


def _fill_nan(row: Any) -> Any:
    return None if row is None else [float("nan") if value is None else value for value in row]


def _declared_spec(column: dict[str, Any]) -> ColumnSpec | None:
    kind = column.get("subtype") or column["datatype"]
    dtype, bracket, size = kind.rstrip("]").partition("[")
    if bracket and not size.isdigit():
        return None
    facts = {**column, **(column.get("meta") or {})}
    return make_spec(column["name"], dtype, (int(size),) if bracket else (), facts)


FORMAT = Format("ECSV", (".ecsv",), EcsvReader, write)
