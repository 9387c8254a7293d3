"""JSON Lines: one object per row; what is missing, NaN or infinite is null; vectors are arrays."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.tables.cells import Values, format_vector, normalize, to_digits
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import readable, restore
from galmorph.tables.formats.base import CHUNK_ROWS, Format, TableReader, make_spec
from galmorph.tables.formats.text import read_lines, write_rows
from galmorph.tables.journal import Journal

_NOT_JSON = re.compile("nan|-?inf")
_KINDS = {bool: "bool", int: "int64", float: "float64"}
_INT64_MAX = np.iinfo(np.int64).max


def _cells(values: Values) -> Sequence[str]:
    if isinstance(values, list):
        return [json.dumps(readable(v), ensure_ascii=False) if v else "null" for v in values]
    if values.ndim > 1:
        rows = [format_vector(row, ",") for row in np.ma.getdata(values)]
        return [f"[{_NOT_JSON.sub('null', row)}]" for row in rows]
    cells = to_digits(values, "null")
    if values.dtype == bool:
        return [cell.lower() for cell in cells]
    return [_NOT_JSON.sub("null", cell) for cell in cells] if values.dtype.kind == "f" else cells


def write(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write one JSON object per row; provenance has no place there."""
    keys = [json.dumps(spec.name, ensure_ascii=False) for spec in rows.specs]
    line = "{" + ",".join(key.replace("%", "%%") + ":%s" for key in keys) + "}\n"
    cells = (list(map(_cells, columns)) for columns in rows.values())
    write_rows(path, "", (line % row for block in cells for row in zip(*block, strict=True)))


class JsonlReader(TableReader):
    """Rows of objects; what is no scalar and no vector of numbers is left out."""

    spelled = staticmethod(restore)

    def _objects(self) -> Iterator[dict[str, Any]]:
        with self.path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(read_lines(file), 1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is no object")
                yield row

    def _open(self) -> dict[str, ColumnSpec | None]:
        kinds: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
        for row in self._objects():
            for name, value in row.items():
                kinds.setdefault(name, set()).update(_kinds(value))
            self.check_columns(len(kinds))
        self.empty = {name for name, found in kinds.items() if not found}
        return {name: _spec(name, found, name in self.exact) for name, found in kinds.items()}

    def _read(self) -> Iterator[dict[str, Values]]:
        rows, wanted = self._objects(), self.wanted()
        while block := list(islice(rows, CHUNK_ROWS)):
            yield {name: _values([r.get(name) for r in block], s) for name, s in wanted.items()}


def _kinds(value: Any) -> set[tuple[str, tuple[int, ...]]]:
    """Type and shape of a value; none where it is null."""
    if isinstance(value, list):
        kinds = {_KINDS.get(type(item), "object") for item in value if item is not None}
        number = "int64" if kinds == {"int64"} and None not in value else "float64"
        return {(number if kinds <= {"int64", "float64"} else "object", (len(value),))}
    if isinstance(value, int) and abs(value) > _INT64_MAX:
        return {("str", ())}
    kind = "str" if isinstance(value, str) else _KINDS.get(type(value), "object")
    return set() if value is None else {(kind, ())}


def _spec(name: str, found: set[tuple[str, tuple[int, ...]]], exact: bool) -> ColumnSpec | None:
    shapes, dtypes = {shape for _, shape in found} or {()}, {dtype for dtype, _ in found}
    dtype = "float64" if dtypes <= {"int64", "float64"} else "str"
    if dtypes in ({"int64"}, {"bool"}, {"str"}):
        (dtype,) = dtypes
    dtype = "str" if exact and dtype == "float64" else dtype
    one = "object" not in dtypes and len(shapes) == 1
    return make_spec(name, dtype, next(iter(shapes))) if one else None


def _values(items: list[Any], spec: ColumnSpec) -> Values:
    if spec.shape and spec.is_float:
        items = [item and [np.nan if x is None else x for x in item] for item in items]
    return normalize(items, spec)


FORMAT = Format("JSON Lines", (".jsonl", ".ndjson"), JsonlReader, write, provenance=False)
