"""FITS binary table (FITS standard 4.0, section 7.3), memory-mapped.

UCDs and descriptions stand in TUCDn and TCOMMn, where TOPCAT looks for them; provenance in the
keyword GALMORPH as JSON, and in HISTORY for people.
"""

import gzip
import json
import re
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError, TableFormatError
from galmorph.quantities import plain
from galmorph.tables.cells import Values, missing_values, normalize
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import STRINGS_KEY, STRINGS_NOTE, escape_ascii, is_plain, unescape
from galmorph.tables.formats.base import CHUNK_ROWS, Format, TableReader, make_spec
from galmorph.tables.journal import Journal, Measure
from galmorph.tables.provenance import flatten_meta

MAX_COLUMNS = 999  # TFIELDS of the FITS standard 4.0, section 7.3.1
BLOCK = 2880  # bytes; FITS files are a multiple of it
KEY = "GALMORPH"

MAX_HDUS, MAX_HEADER = 256, 1 << 22  # HDUs (one of negative size would come for ever); bytes
LDAC_HEADER = "LDAC_IMHEAD"  # header of an image, as a table ahead of each catalogue
_LETTERS = dict(str="A", bool="L", int16="I", int32="J", int64="K", float32="E", float64="D")


def _check(specs: Sequence[ColumnSpec]) -> None:
    if len(specs) > MAX_COLUMNS:
        raise TableFormatError(
            f"FITS holds at most {MAX_COLUMNS} columns, not {len(specs)}; "
            "carry fewer columns of the catalogue or write .parquet or .vot"
        )


def _width(spec: ColumnSpec, measure: Measure) -> int:
    return max(measure.fits_width, 1) if spec.is_text else (spec.shape or (1,))[0]


def _column_cards(number: int, spec: ColumnSpec, measure: Measure) -> list[tuple[str, Any]]:
    width = _width(spec, measure) if spec.is_text or spec.shape else ""
    gaps = spec.dtype.startswith("int") and measure.missing
    cards = {
        "TTYPE": escape_ascii(spec.name),
        "TFORM": f"{width}{_LETTERS[spec.dtype]}",
        "TUNIT": escape_ascii(spec.unit),
        "TNULL": int(np.iinfo(spec.dtype).min) if gaps else None,
        "TUCD": escape_ascii(spec.ucd),
        "TCOMM": escape_ascii(spec.description),
    }
    return [(f"{key}{number}", value) for key, value in cards.items() if value not in ("", None)]


def _make_header(
    rows: Journal, measures: Sequence[Measure], row_bytes: int, meta: Mapping[str, Any]
) -> bytes:
    from astropy.io import fits

    shape = [("NAXIS1", row_bytes, "bytes per row"), ("NAXIS2", rows.rows_done, "rows")]
    first = [("XTENSION", "BINTABLE", "binary table extension"), ("BITPIX", 8), ("NAXIS", 2)]
    last = [("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", len(rows.specs)), ("EXTNAME", KEY)]
    header = fits.Header([*first, *shape, *last])
    for number, (spec, measure) in enumerate(zip(rows.specs, measures, strict=True), 1):
        for key, value in _column_cards(number, spec, measure):
            header[key] = value
    # astropy misreads long strings that hold a quote before a slash.
    header[KEY] = json.dumps(plain(meta)).replace("'", "\\u0027")
    for key, value in {**flatten_meta(meta), STRINGS_KEY: STRINGS_NOTE}.items():
        header.add_history(f"{escape_ascii(key)} = {json.dumps(value)}")
    primary = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    return bytes((primary.tostring() + header.tostring()).encode("ascii"))


def _field(values: Values, spec: ColumnSpec) -> Any:
    if isinstance(values, list):
        if is_plain(values) and "".join(values).isascii():
            return values
        return [escape_ascii(value) for value in values]
    if spec.dtype == "bool":
        truth = np.where(np.ma.getdata(values), ord("T"), ord("F"))
        return np.where(missing_values(values), 0, truth)
    if isinstance(values, np.ma.MaskedArray):
        return values.filled(np.iinfo(spec.dtype).min)
    return values


def write(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write one binary table extension."""
    measures = rows.measure()
    fields: list[Any] = []
    for k, (spec, measure) in enumerate(zip(rows.specs, measures, strict=True)):
        kind = f"S{_width(spec, measure)}" if spec.is_text else spec.dtype
        fields.append((f"f{k}", "u1" if kind == "bool" else kind, spec.shape))
    dtype = np.dtype(fields).newbyteorder(">")
    with path.open("wb") as file:
        file.write(_make_header(rows, measures, dtype.itemsize, meta))
        for columns in rows.values():
            record = np.zeros(len(columns[0]), dtype=dtype)
            for index, (values, spec) in enumerate(zip(columns, rows.specs, strict=True)):
                record[f"f{index}"] = _field(values, spec)
            file.write(record.data)
        file.write(bytes(-file.tell() % BLOCK))


class FitsReader(TableReader):
    """Rows of a FITS table."""

    def _open(self) -> dict[str, ColumnSpec | None]:
        with self._hdus() as hdus:
            hdu = self._table(hdus)
            if KEY in hdu.header:
                self.provenance, self.restore = json.loads(hdu.header[KEY]), unescape
            return {column.name: _spec(column, hdu, k) for k, column in enumerate(hdu.columns, 1)}

    def _hdus(self) -> Any:
        from astropy.io import fits

        self._check_header(0)
        return fits.open(self._unpacked, memmap=True)

    @cached_property
    def _unpacked(self) -> str | Path:
        """The file, or a temporary one with what is in it."""
        if self.path.suffix.lower() != ".gz":
            return self.path
        file = tempfile.NamedTemporaryFile()  # noqa: SIM115 (as long as this)
        weakref.finalize(self, file.close)
        with gzip.open(self.path) as packed:
            while piece := packed.read(1 << 20):
                file.write(piece)
                self.check_unpacked(file.tell())
        file.flush()
        return file.name

    def _check_header(self, place: int) -> None:
        """Refuse a header without end, for which astropy would look through the whole file."""
        with open(self._unpacked, "rb") as file:
            file.seek(place)
            head = file.read(MAX_HEADER)
        cards, end, _ = head.partition(b"END".ljust(80))
        if head and not end:
            raise CatalogueError(f"{self.path}: a header in it has no end")
        for key, count in re.findall(rb"(NAXIS  |TFIELDS) = *([0-9]+)", cards):
            if int(count) > MAX_COLUMNS:  # astropy would make a list of them
                said = f"a header in it says {key.decode().strip()} = {int(count)}"
                raise CatalogueError(f"{self.path}: {said}")

    def _table(self, hdus: Any) -> Any:
        for hdu in islice(hdus, MAX_HDUS):
            if hasattr(hdu, "columns") and hdu.name != LDAC_HEADER and hdu.data is not None:
                if len(hdu.data) != hdu.header["NAXIS2"]:
                    raise CatalogueError(f"{self.path}: is cut short")
                return hdu
            place = hdu.fileinfo()
            self._check_header(place["datLoc"] + place["datSpan"])
        raise CatalogueError(f"{self.path}: holds no table")

    def _read(self) -> Iterator[dict[str, Values]]:
        with self._hdus() as hdus:
            hdu, wanted = self._table(hdus), self.wanted()
            columns = [(c, wanted[c.name]) for c in hdu.columns if c.name in wanted]
            for start in range(0, len(hdu.data), CHUNK_ROWS):
                rows = hdu.data[start : start + CHUNK_ROWS]
                yield {c.name: _values(_stored(rows, c), c, s) for c, s in columns}


def _spec(column: Any, hdu: Any, number: int) -> ColumnSpec | None:
    values = _stored(hdu.data[:1], column)
    cards = {"unit": "TUNIT", "ucd": "TUCD", "description": "TCOMM"}
    facts = {fact: str(hdu.header.get(f"{key}{number}", "")) for fact, key in cards.items()}
    if KEY in hdu.header:
        facts = dict(zip(facts, map(unescape, facts.values()), strict=True))
    return make_spec(column.name, values.dtype, values.shape[1:], facts)


def _stored(rows: Any, column: Any) -> Any:
    """Values as astropy converts them, but logicals masked where they are undefined."""
    if str(column.format) not in ("L", "1L"):
        return rows[column.name]
    stored = rows.view(np.ndarray)[column.name]
    return np.ma.MaskedArray(stored == ord("T"), mask=stored == 0)


def _values(values: Any, column: Any, spec: ColumnSpec) -> Values:
    if column.null is not None and values.dtype.kind in "iu":
        # TNULL names a stored value, or with some writers (astropy) a converted one
        stored = column.null + int(column.bzero or 0)
        values = np.ma.masked_where((values == stored) | (values == column.null), values)
    if spec.is_text:
        array = np.ma.asarray(values) if np.ma.isMaskedArray(values) else np.asarray(values)
        return normalize(np.char.rstrip(array) if array.dtype.kind in "SU" else array, spec)
    return normalize(values, spec)


FORMAT = Format(
    *("FITS", (".fits", ".fit"), FitsReader, write),
    check=_check,
    list_names=lambda specs: [escape_ascii(spec.name) for spec in specs],
)
