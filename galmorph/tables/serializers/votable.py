"""VOTable 1.4, serialized as TABLEDATA (IVOA recommendation of 2019-10-21).

Columns are FIELDs with datatype, unit, UCD and DESCRIPTION; provenance stands in PARAMs of the
table. Strings are ``char`` where a column is ASCII throughout, else ``unicodeChar``. Characters
that XML cannot hold become U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from galmorph.tables.cells import format_vector, from_cells
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import unescape, xml_text
from galmorph.tables.journal import Journal
from galmorph.tables.measure import Measure
from galmorph.tables.provenance import Scalar, flatten_meta

__all__ = ["write_votable"]

_DATATYPES = {
    "bool": "boolean",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "float32": "float",
    "float64": "double",
}
_NUMBERS = {"": "NaN", "nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results">
<COOSYS ID="icrs" system="ICRS"/>
<TABLE name="galmorph" nrows="{count}">
"""
_TAIL = "</TABLEDATA></DATA>\n</TABLE>\n</RESOURCE>\n</VOTABLE>\n"


def _attributes(pairs: Mapping[str, str]) -> str:
    return "".join(f" {key}={quoteattr(xml_text(value))}" for key, value in pairs.items() if value)


def _field(spec: ColumnSpec, measure: Measure) -> str:
    text = "char" if measure.ascii else "unicodeChar"
    # the system of positions that a catalogue has brought along is not known
    position = spec.name in ("ra", "dec") and spec.ucd.startswith("pos.eq.")
    attributes = {
        "name": spec.name,
        "datatype": text if spec.is_text else _DATATYPES[spec.dtype],
        # A bound lets astropy use a string dtype, not objects.
        "arraysize": f"{max(measure.length, 1)}*"
        if spec.is_text
        else "".join(map(str, spec.shape)),
        "unit": spec.unit,
        "ucd": spec.ucd,
        "ref": "icrs" if position else "",
    }
    description = escape(xml_text(spec.description))
    body = f"<DESCRIPTION>{description}</DESCRIPTION>" if description else ""
    return f"<FIELD{_attributes(attributes)}>{body}</FIELD>\n"


def _param(name: str, value: Scalar) -> str:
    kinds = {"bool": "boolean", "int": "long", "float": "double"}
    kind = kinds.get(type(value).__name__, "")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not kind:
        text = text or " "  # an empty char array has no valid size
        kind = "char" if text.isascii() else "unicodeChar"
    size = ' arraysize="*"' if kind.endswith("har") else ""
    return f"<PARAM{_attributes({'name': name, 'datatype': kind, 'value': text})}{size}/>\n"


def _text_cells(cells: Sequence[str]) -> Sequence[str]:
    joined = "".join(cells)
    if joined.isprintable() and not any(mark in joined for mark in "%<>&"):
        return cells
    carriage = {"\r": "&#13;"}  # XML would make a line break of it
    return [escape(xml_text(unescape(cell)), carriage) for cell in cells]


def _cells(cells: Sequence[str], spec: ColumnSpec) -> Sequence[str]:
    if spec.is_text:
        return _text_cells(cells)
    if spec.shape:
        return [_vector(row) for row in np.asarray(from_cells(cells, spec))]
    if spec.is_float:
        return [_NUMBERS.get(cell, cell) for cell in cells]
    if spec.dtype == "bool":
        return [cell.lower() or "?" for cell in cells]
    return cells


def _vector(row: Any) -> str:
    text = format_vector(row, " ")
    return re.sub("nan|-?inf", lambda match: _NUMBERS[match.group()], text) if "n" in text else text


def _body(rows: Journal) -> Iterator[str]:
    line = "<TR>" + "<TD>{}</TD>" * len(rows.specs) + "</TR>\n"
    for columns in rows.cells():
        cells = [_cells(c, spec) for c, spec in zip(columns, rows.specs, strict=True)]
        yield "".join([line.format(*row) for row in zip(*cells, strict=True)])


def write_votable(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write one VOTable with one table.

    Parameters
    ----------
    rows : Journal
    meta : mapping
    path : Path
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_HEAD.format(count=rows.rows_done))
        file.writelines(_param(key, value) for key, value in flatten_meta(meta).items())
        file.writelines(map(_field, rows.specs, rows.measures))
        file.write("<DATA><TABLEDATA>\n")
        file.writelines(_body(rows))
        file.write(_TAIL)
