"""FITS binary table (FITS standard 4.0, section 7.3).

* Strings are fixed-width, as wide as the longest; what is not printable ASCII is percent-encoded
  (see `galmorph.tables.escape`), because the standard allows nothing else.
* Units stand in TUNITn; UCDs and descriptions in TUCDn and TCOMMn, where TOPCAT looks for them.
* A missing whole number is the smallest of its type, named by TNULLn; a missing float is NaN.
* Provenance: the keyword GALMORPH holds all of it as JSON (a long string, with CONTINUE), and one
  HISTORY line per entry says it for people. There is no second table in the file, about which
  readers would have to ask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.tables.cells import Values, missing_values
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import escape_ascii, is_plain
from galmorph.tables.journal import Journal
from galmorph.tables.lines import STRINGS_KEY, STRINGS_NOTE
from galmorph.tables.measure import Measure
from galmorph.tables.provenance import flatten_meta, plain

__all__ = ["BLOCK", "write_fits"]

BLOCK = 2880
"""Bytes; FITS files are a multiple of it."""

_FORMATS = {
    "bool": ("L", "u1"),
    "int16": ("I", ">i2"),
    "int32": ("J", ">i4"),
    "int64": ("K", ">i8"),
    "float32": ("E", ">f4"),
    "float64": ("D", ">f8"),
}


def _width(spec: ColumnSpec, measure: Measure) -> int:
    return max(measure.fits_width, 1) if spec.is_text else (spec.shape or (1,))[0]


def _format(spec: ColumnSpec, measure: Measure) -> str:
    width = _width(spec, measure)
    letter = "A" if spec.is_text else _FORMATS[spec.dtype][0]
    return letter if width == 1 and not spec.shape and not spec.is_text else f"{width}{letter}"


def _row_dtype(rows: Journal) -> np.dtype[Any]:
    fields: list[Any] = []
    for index, (spec, measure) in enumerate(zip(rows.specs, rows.measures, strict=True)):
        kind = f"S{_width(spec, measure)}" if spec.is_text else _FORMATS[spec.dtype][1]
        fields.append((f"f{index}", kind, spec.shape))
    return np.dtype(fields)


def _null(spec: ColumnSpec, measure: Measure) -> int | None:
    if not spec.dtype.startswith("int") or not measure.missing:
        return None
    return int(np.iinfo(spec.dtype).min)


def _column_cards(number: int, spec: ColumnSpec, measure: Measure) -> list[tuple[str, Any]]:
    cards = {
        "TTYPE": escape_ascii(spec.name),
        "TFORM": _format(spec, measure),
        "TUNIT": escape_ascii(spec.unit),
        "TNULL": _null(spec, measure),
        "TUCD": escape_ascii(spec.ucd),
        "TCOMM": escape_ascii(spec.description),
    }
    return [(f"{key}{number}", value) for key, value in cards.items() if value not in ("", None)]


def _table_header(rows: Journal, row_bytes: int, meta: Mapping[str, Any]) -> bytes:
    from astropy.io import fits

    header = fits.Header(
        [
            ("XTENSION", "BINTABLE", "binary table extension"),
            ("BITPIX", 8),
            ("NAXIS", 2),
            ("NAXIS1", row_bytes, "bytes per row"),
            ("NAXIS2", rows.rows_done, "rows"),
            ("PCOUNT", 0),
            ("GCOUNT", 1),
            ("TFIELDS", len(rows.specs)),
            ("EXTNAME", "GALMORPH"),
        ]
    )
    for number, (spec, measure) in enumerate(zip(rows.specs, rows.measures, strict=True), 1):
        for key, value in _column_cards(number, spec, measure):
            header[key] = value
    # astropy misreads long strings that hold a quote before a slash.
    header["GALMORPH"] = json.dumps(plain(meta)).replace("'", "\\u0027")
    for key, value in {**flatten_meta(meta), STRINGS_KEY: STRINGS_NOTE}.items():
        header.add_history(f"{escape_ascii(key)} = {json.dumps(value)}")
    return bytes(header.tostring().encode("ascii"))


def _primary_header() -> bytes:
    from astropy.io import fits

    cards = [("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)]
    return bytes(fits.Header(cards).tostring().encode("ascii"))


def _strings(values: list[str]) -> list[bytes]:
    if is_plain(values) and all(map(str.isascii, values)):
        return [value.encode() for value in values]
    return [escape_ascii(value).encode() for value in values]


def _field(values: Values, spec: ColumnSpec) -> Any:
    if isinstance(values, list):
        return _strings(values)
    if spec.dtype == "bool":
        truth = np.where(np.ma.getdata(values), ord("T"), ord("F"))
        return np.where(missing_values(values), 0, truth)
    if isinstance(values, np.ma.MaskedArray):
        return values.filled(np.iinfo(spec.dtype).min)
    return values


def _record(columns: list[Values], rows: Journal, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    record = np.zeros(len(columns[0]), dtype=dtype)
    for index, (values, spec) in enumerate(zip(columns, rows.specs, strict=True)):
        record[f"f{index}"] = _field(values, spec)
    return record


def write_fits(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write one binary table extension.

    Parameters
    ----------
    rows : Journal
    meta : mapping
    path : Path
    """
    dtype = _row_dtype(rows)
    with path.open("wb") as file:
        file.write(_primary_header())
        file.write(_table_header(rows, dtype.itemsize, meta))
        for columns in rows.values():
            file.write(_record(columns, rows, dtype).tobytes())
        file.write(bytes(-file.tell() % BLOCK))
