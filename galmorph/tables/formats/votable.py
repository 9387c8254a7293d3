"""VOTable 1.4, serialized as TABLEDATA (IVOA recommendation of 2019-10-21).

A file is read whole, its first table; one that refers to another is refused.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.tables.cells import Values, format_vector, to_digits
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import is_plain, restore, xml_cell, xml_text
from galmorph.tables.formats.base import Format, MemoryReader, list_specs
from galmorph.tables.formats.text import write_rows
from galmorph.tables.journal import Journal, Measure
from galmorph.tables.provenance import Scalar, flatten_meta

_DATATYPES = dict(
    bool="boolean", int16="short", int32="int", int64="long", float32="float", float64="double"
)
FILE_RATIO, CELL_BYTES = 4, 16  # bytes of memory for one of the file, and for a cell
MAX_MEMORY = 4 << 30

_NUMBERS = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}

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


def _cells(values: Values) -> Sequence[str]:
    if isinstance(values, list):
        joined = "".join(values)
        if is_plain(values) and not any(mark in joined for mark in "<>&\\"):
            return values
        carriage = {"\r": "&#13;"}  # XML would make a line break of it
        return [escape(xml_cell(cell), carriage) for cell in values]
    if values.ndim > 1:
        return [" ".join(_say(format_vector(row, " ").split(" "))) for row in np.ma.getdata(values)]
    if values.dtype == bool:
        return [cell.lower() for cell in to_digits(values, "?")]
    return _say(to_digits(values, "NaN" if values.dtype.kind == "f" else ""))


def _say(cells: list[str]) -> list[str]:
    """NaN and infinities in the words of XML."""
    return [_NUMBERS.get(cell, cell) for cell in cells] if "n" in "".join(cells) else cells


def _body(rows: Journal) -> Iterator[str]:
    measures = rows.measure()
    yield from map(_field, rows.specs, measures)
    yield "<DATA><TABLEDATA>\n"
    line = "<TR>" + "<TD>{}</TD>" * len(rows.specs) + "</TR>\n"
    for columns in rows.values():
        cells = [_cells(values) for values in columns]
        yield "".join([line.format(*row) for row in zip(*cells, strict=True)])
    yield _TAIL


def write(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write one VOTable with one table."""
    params = "".join(_param(key, value) for key, value in flatten_meta(meta).items())
    write_rows(path, _HEAD.format(count=rows.rows_done) + params, _body(rows))


class VotableReader(MemoryReader):
    """Rows of the first table."""

    spelled = staticmethod(restore)

    def _open(self) -> dict[str, ColumnSpec | None]:
        from astropy.io.votable import parse

        self._look_ahead()
        first = parse(self.path, verify="ignore").get_first_table()
        self.table = first.to_table(use_names_over_ids=True)
        said = {param.name: param.value for param in first.params}
        self.provenance = {name: "" if value == " " else value for name, value in said.items()}
        return list_specs(self.table)

    def _look_ahead(self) -> None:
        """Refuse what is too large, and data elsewhere, before the parser could follow."""
        fields, width = 0, 0
        size = FILE_RATIO * self.path.stat().st_size

        def look(name: str, attributes: Mapping[str, str]) -> None:
            nonlocal fields, width, size
            match name.rpartition(":")[2].upper():
                case "STREAM" if "href" in attributes:
                    raise CatalogueError(
                        f"{self.path}: its data stand elsewhere ({attributes['href']!r}), which is "
                        "not opened; save them within the file"
                    )
                case "FIELD":
                    fields, width = fields + 1, width + _width(attributes.get("arraysize", "1"))
                    self.check_columns(fields)
                case "TR":
                    size += width
                    self.check_size(size, MAX_MEMORY)

        def refuse(*_: Any) -> None:
            raise CatalogueError(f"{self.path}: declares entities, which no VOTable needs")

        parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EntityDeclHandler = look, refuse
        with self.path.open("rb") as file:
            parser.ParseFile(file)
        self.check_size(size, MAX_MEMORY)


def _width(arraysize: str) -> int:
    """Bytes of a cell in memory, about, besides what stands in the file."""
    sizes = [int(part) for part in arraysize.split("x") if part.isdecimal()]
    return CELL_BYTES * math.prod(sizes)


FORMAT = Format("VOTable", (".vot", ".votable", ".xml"), VotableReader, write)
