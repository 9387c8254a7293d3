"""Text cells to lines of comma-separated values and back, and the header of ECSV.

Every row ends with a line feed; quoted are cells with a comma, a quote, a "#" or a line break.
ECSV: https://github.com/astropy/astropy-APEs/blob/main/APE6.rst.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from galmorph.tables.columns import ColumnSpec

__all__ = [
    "STRINGS_KEY",
    "STRINGS_NOTE",
    "join_rows",
    "make_header",
    "quote_column",
    "split_rows",
    "yaml_value",
]

STRINGS_KEY = "strings"
STRINGS_NOTE = "percent-encoded where a character is not printable, or % before two hex digits"
"""Said in the header of ECSV and FITS, so that readers know (see `galmorph.tables.escape`)."""

_MUST_QUOTE = re.compile(r'[",#\r\n]')
_YAML_UNSAFE = re.compile(r"[^\x20-\x7e]")


def _quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _MUST_QUOTE.search(cell) else cell


def quote_column(cells: Sequence[str]) -> Sequence[str]:
    """Put quotes around the cells that need them.

    Parameters
    ----------
    cells : sequence of str

    Returns
    -------
    sequence of str
    """
    joined = "".join(cells)
    return [_quote(cell) for cell in cells] if _MUST_QUOTE.search(joined) else cells


def join_rows(columns: Sequence[Sequence[str]]) -> str:
    """Lines of comma-separated values.

    Parameters
    ----------
    columns : sequence of sequence of str
        Cells, column by column.

    Returns
    -------
    str
        One line per row, each with its line break.
    """
    text = _join(columns)
    rows = len(columns[0])
    # Counting is faster than looking into each cell, and most blocks need no quotes.
    if (
        len(columns) > 1
        and text.count(",") == rows * (len(columns) - 1)
        and text.count("\n") == rows
        and not any(mark in text for mark in '"#\r')
    ):
        return text
    quoted = [quote_column(cells) for cells in columns]
    if len(quoted) == 1:  # an empty line would be no row
        quoted = [[cell or '""' for cell in quoted[0]]]
    return _join(quoted)


def _join(columns: Sequence[Sequence[str]]) -> str:
    return "".join([",".join(row) + "\n" for row in zip(*columns, strict=True)])


def split_rows(lines: Iterable[str], width: int) -> list[tuple[str, ...]]:
    """Cells of lines, column by column: the inverse of `join_rows`.

    Parameters
    ----------
    lines : iterable of str
        Each a whole row, without its line break.
    width : int
        Number of columns.

    Returns
    -------
    list of tuple of str
        One tuple per column.

    Raises
    ------
    ValueError
        Where a line has another number of cells.
    """
    rows = [line.split(",") if '"' not in line else _parse(line) for line in lines]
    if set(map(len, rows)) - {width}:
        raise ValueError(f"a line does not have {width} cells")
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _parse(line: str) -> list[str]:
    csv.field_size_limit(max(csv.field_size_limit(), sys.maxsize >> 32))  # long vectors
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from error


def yaml_value(value: Any) -> str:
    """A scalar, list or mapping as YAML in flow style, printable ASCII.

    Parameters
    ----------
    value : object
        Anything that JSON knows.

    Returns
    -------
    str

    Notes
    -----
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


def _column_entry(spec: ColumnSpec, *, packed: bool) -> str:
    entry: dict[str, Any] = {"name": spec.name}
    if spec.unit:
        entry["unit"] = spec.unit
    vector = bool(spec.shape)
    entry["datatype"] = "string" if spec.is_text or vector else spec.dtype
    if vector and not packed:
        entry["subtype"] = f"{spec.dtype}{json.dumps(list(spec.shape))}"
    if spec.description:
        entry["description"] = spec.description
    meta = {"ucd": spec.ucd} if spec.ucd else {}
    if vector and packed:
        meta["base64"] = f"little-endian {spec.kind}"
    if meta:
        entry["meta"] = meta
    return yaml_value(entry)


def make_header(
    specs: Sequence[ColumnSpec], meta: Mapping[str, Any], *, packed: bool = False
) -> list[str]:
    """YAML lines of an ECSV header, without the leading "# " and the line of names.

    Parameters
    ----------
    specs : sequence of ColumnSpec
    meta : mapping
        Flat: keys and scalars.
    packed : bool
        Vectors stand as base64 text, not as JSON lists.

    Returns
    -------
    list of str
    """
    meta = {**meta, STRINGS_KEY: STRINGS_NOTE}
    pairs = ", ".join(f"{yaml_value(key)}: {yaml_value(value)}" for key, value in meta.items())
    return [
        "%ECSV 1.0",
        "---",
        "delimiter: ','",
        "datatype:",
        *(f"- {_column_entry(spec, packed=packed)}" for spec in specs),
        f"meta: {{{pairs}}}",
        "schema: astropy-2.0",
    ]
