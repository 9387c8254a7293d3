"""Read a finished result back, to tell whether it is the one that a run would make.

Only what is needed is read, some rows at a time: the provenance, the names of the columns, and the
``object_id``, ``path`` and ``flags`` of each row. CSV, JSON Lines and npy have no place for
provenance, and npy none for names and flags either; what is not there is None. A row of npy without
a label is one of NaN.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import starmap
from pathlib import Path
from typing import Any, TextIO
from xml.etree import ElementTree

import numpy as np

from galmorph.errors import ResumeError
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.done import KEY_COLUMNS, DoneRow, make_done
from galmorph.tables.escape import escape_ascii, unescape_all, xml_text
from galmorph.tables.formats import Format
from galmorph.tables.lines import STRINGS_KEY
from galmorph.tables.provenance import flatten_meta, list_differences
from galmorph.tables.serializers.text import vector_names

__all__ = ["WAY_OUT", "FinishedTable", "read_finished"]

Rows = Iterator[DoneRow]

CHUNK_ROWS = 8192
MAX_NAMED = 5
"""Columns that a message names; an embedding in CSV has hundreds."""

WAY_OUT = "or name another file, or start anew without resuming (this one is replaced then)"
_VOTABLE = "{http://www.ivoa.net/xml/VOTable/v1.3}"


@dataclass(frozen=True, slots=True)
class FinishedTable:
    """What a finished result tells of its run.

    Attributes
    ----------
    columns : list of str, or None
        As the file names them; None where it does not.
    provenance : mapping, or None
        None where the format has no place for it.
    rows : iterator of DoneRow
        In order.
    """

    columns: Sequence[str] | None
    provenance: Mapping[str, Any] | None
    rows: Rows

    def list_differences(
        self,
        specs: Sequence[ColumnSpec],
        fingerprint: Mapping[str, Any],
        meta: Mapping[str, Any],
        form: Format,
    ) -> list[str]:
        """Say where the run that made it differs from the one of now.

        Parameters
        ----------
        specs : sequence of ColumnSpec
        fingerprint : mapping
            What must be the same.
        meta : mapping
            Provenance; what stands there but not in the fingerprint may differ.
        form : Format

        Returns
        -------
        list of str
            Empty where both are the same, as far as the file tells.
        """
        names = _names_in_file(specs, form)
        recorded, now = list(self.columns or names), list(names)
        different = _name_columns([n for n in names if n not in recorded], "not in the file")
        different += _name_columns([n for n in recorded if n not in now], "no longer made")
        if self.provenance is None:
            return different
        free = {key for key in meta if key not in fingerprint} | {STRINGS_KEY}
        compared = {k: v for k, v in self.provenance.items() if k.partition(".")[0] not in free}
        return list_differences(_as_text(compared), _as_text(fingerprint)) + different


def _name_columns(names: Sequence[str], what: str) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return [f"column {', '.join(names[:MAX_NAMED])}{more}: {what}"]


def _names_in_file(specs: Sequence[ColumnSpec], form: Format) -> list[str]:
    if form.name == "CSV":
        return [name for s in specs for name in (vector_names(s) if s.shape else [s.name])]
    if form.name == "FITS":
        return [escape_ascii(spec.name) for spec in specs]
    return [spec.name for spec in specs]


def _as_text(mapping: Mapping[str, Any]) -> dict[str, str]:
    """Entries in the one form that every format gives back."""
    flat = flatten_meta(mapping)
    text = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in flat.items()}
    return {key: xml_text(value).strip() for key, value in text.items()}


def read_finished(path: Path, form: Format) -> FinishedTable:
    """Open a finished result.

    Parameters
    ----------
    path : Path
    form : Format
        As its suffix says.

    Returns
    -------
    FinishedTable

    Raises
    ------
    ResumeError
        Where the file is damaged or was not made by galmorph.
    """
    with _reading(path):
        table = _READERS[form.name](path)
    return replace(table, rows=_guard(path, table.rows))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    # Each format has its own parser, each with errors of its own; all mean the same here.
    except Exception as error:
        raise ResumeError(
            f"{path}: a file of this name is there already, and it is no whole result of galmorph "
            f"({type(error).__name__}: {error}); move it away, {WAY_OUT}"
        ) from error


def _guard(path: Path, rows: Rows) -> Rows:
    with _reading(path):
        yield from rows


def _needed(names: Sequence[str]) -> list[str]:
    """Columns that a row is made from: its key, and its flags where there are any."""
    return [*KEY_COLUMNS, *(["flags"] if "flags" in names else [])]


def _join(columns: Iterable[Sequence[Any]]) -> Rows:
    return starmap(make_done, zip(*columns, strict=True))


def _read_text(path: Path, *, escaped: bool) -> FinishedTable:
    with path.open(encoding="utf-8", newline="") as file:
        provenance = _read_ecsv_header(file) if escaped else None
        start = file.tell()
        columns = next(_split(file), [])
        if not columns:
            raise ValueError("it has no line of names")

    def read_rows() -> Rows:
        with path.open(encoding="utf-8", newline="") as file:
            file.seek(start)
            lines = _split(file)
            names = next(lines)
            at = [names.index(name) for name in _needed(names)]
            for row in lines:
                if len(row) != len(names):
                    raise ValueError(f"a row of {len(row)} cells, not {len(names)}")
                cells = [row[index] for index in at]
                yield make_done(*(unescape_all(cells) if escaped else cells))

    return FinishedTable(columns, provenance, read_rows())


def _split(file: TextIO) -> Iterator[list[str]]:
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))  # long vectors
    return csv.reader(file, strict=True)


def _read_ecsv_header(file: TextIO) -> dict[str, Any]:
    """Entries of "meta"; the file is left at the line of names."""
    from astropy.io.misc import yaml

    provenance: dict[str, Any] = {}
    while True:
        start = file.tell()
        line = file.readline()
        if not line.startswith("# "):
            file.seek(start)
            return provenance
        if line.startswith("# meta: "):
            provenance = yaml.load(line.removeprefix("# meta: "))


def _read_csv(path: Path) -> FinishedTable:
    return _read_text(path, escaped=False)


def _read_ecsv(path: Path) -> FinishedTable:
    return _read_text(path, escaped=True)


def _read_fits(path: Path) -> FinishedTable:
    from astropy.io import fits

    with fits.open(path, memmap=True) as hdus:
        hdu = hdus["GALMORPH"]
        provenance = json.loads(hdu.header["GALMORPH"])
        columns = list(hdu.columns.names)
        if len(hdu.data) != hdu.header["NAXIS2"]:
            raise ValueError("it is cut short")

    def read_rows() -> Rows:
        with fits.open(path, memmap=True) as hdus:
            data = hdus["GALMORPH"].data
            for start in range(0, len(data), CHUNK_ROWS):
                rows = data[start : start + CHUNK_ROWS]
                ids, paths, *flags = (rows[name].tolist() for name in _needed(columns))
                yield from _join([unescape_all(ids), unescape_all(paths), *flags])

    return FinishedTable(columns, provenance, read_rows())


def _read_votable(path: Path) -> FinishedTable:
    columns: list[str] = []
    provenance: dict[str, str] = {}
    with path.open("rb") as file:
        for event, element in ElementTree.iterparse(file, events=("start", "end")):
            name = element.tag.removeprefix(_VOTABLE)
            if event == "start" and name == "TABLEDATA":
                break
            if event == "end" and name == "FIELD":
                columns.append(element.attrib["name"])
            elif event == "end" and name == "PARAM":
                provenance[element.attrib["name"]] = element.attrib["value"]

    def read_rows() -> Rows:
        at = [columns.index(name) for name in _needed(columns)]
        with path.open("rb") as file:
            table = None
            for event, element in ElementTree.iterparse(file, events=("start", "end")):
                name = element.tag.removeprefix(_VOTABLE)
                if event == "start" and name == "TABLEDATA":
                    table = element
                elif event == "end" and name == "TR" and table is not None:
                    yield make_done(*(element[index].text for index in at))
                    table.clear()  # or all rows would stay in memory

    return FinishedTable(columns, provenance, read_rows())


def _read_parquet(path: Path) -> FinishedTable:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        needed = _needed(schema.names)
        provenance = json.loads(schema.metadata[b"galmorph"])

    def read_rows() -> Rows:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(CHUNK_ROWS, columns=needed):
                yield from _join([batch.column(name).to_pylist() for name in needed])

    return FinishedTable(schema.names, provenance, read_rows())


def _read_jsonl(path: Path) -> FinishedTable:
    def parse() -> Iterator[dict[str, Any]]:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from map(json.loads, file)

    first = next(parse(), None)
    rows = (make_done(row["object_id"], row["path"], row.get("flags")) for row in parse())
    return FinishedTable(list(first) if first is not None else None, None, rows)


def _read_npy(path: Path) -> FinishedTable:
    vectors = np.load(path, mmap_mode="r")
    return FinishedTable(None, None, (DoneRow(None, bool(np.isnan(v).all())) for v in vectors))


def _read_npz(path: Path) -> FinishedTable:
    with path.open("rb") as file, np.load(file) as arrays:
        columns = [name for name in arrays.files if name != "provenance"]
        provenance = json.loads(arrays["provenance"].item())
        rows = _join([arrays[name].tolist() for name in _needed(columns)])
    return FinishedTable(columns, provenance, rows)


_READERS: Mapping[str, Callable[[Path], FinishedTable]] = {
    "CSV": _read_csv,
    "ECSV": _read_ecsv,
    "FITS": _read_fits,
    "VOTable": _read_votable,
    "Parquet": _read_parquet,
    "JSON Lines": _read_jsonl,
    "npy": _read_npy,
    "npz": _read_npz,
}
