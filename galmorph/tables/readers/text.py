"""CSV, TSV and ECSV.

CSV does not say its types, so the file is read once before: a column is of whole numbers if every
cell is one that fits in 64 bits and has no leading zero (identifiers such as "007" stay strings),
else of floats if every cell is a number that a float holds, else of strings. Empty cells are
missing, and a column of nothing else is one of NaN. Where the header has blanks after its commas,
those of the rows do not count either.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import DTYPES, ColumnSpec, nearest_dtype
from galmorph.tables.escape import unescape_all
from galmorph.tables.lines import STRINGS_KEY
from galmorph.tables.readers.base import CHUNK_ROWS, TableReader, unreadable

__all__ = ["TextReader"]

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf)", re.I)
_TRUTH = {"True": True, "true": True, "False": False, "false": False}
_INT64_MAX = np.iinfo(np.int64).max
_EXACT_MAX = 2**53
"""Up to here a float64 holds every whole number."""


def _is_whole(cell: str) -> bool:
    return _WHOLE.fullmatch(cell) is not None and abs(int(cell)) <= _INT64_MAX


def _is_number(cell: str) -> bool:
    # A whole number that a float cannot hold is an identifier, beside NaN as well.
    if _NUMBER.fullmatch(cell) is None:
        return False
    return not cell.lstrip("+-").isdigit() or (_is_whole(cell) and abs(int(cell)) <= _EXACT_MAX)


_TESTS = {"bool": _TRUTH.__contains__, "int64": _is_whole, "float64": _is_number}


class _Guess:
    """Type of a column of text, from all of its cells."""

    def __init__(self, *, exact: bool) -> None:
        self._possible = ["empty", *_TESTS]
        if exact:
            self._possible.remove("float64")

    def update(self, cells: Sequence[str]) -> None:
        filled = [cell for cell in cells if cell]
        if filled and self._possible[:1] == ["empty"]:
            del self._possible[0]
        self._possible = [
            name for name in self._possible if name == "empty" or all(map(_TESTS[name], filled))
        ]

    def dtype(self) -> str:
        first = self._possible[0] if self._possible else "str"
        return "float64" if first == "empty" else first


class TextReader(TableReader):
    """Rows of text.

    Parameters
    ----------
    path : Path
    exact : collection of str
        Columns of names: strings rather than floats, since "1.10" is not "1.1".

    Raises
    ------
    CatalogueError
        Where the file is not UTF-8, has no header, names a column twice, or a row has another
        number of cells than the header.
    """

    def __init__(self, path: Path, exact: Collection[str] = ()) -> None:
        super().__init__(path)
        self._exact = frozenset(exact)
        self._delimiter = "\t" if ".tsv" in path.name.lower() else ","
        self._escaped = False
        try:
            header = self._comments()
            self.specs = self._declared(header) if header else self._guessed()
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise unreadable(path, error) from error

    def _open(self) -> IO[str]:
        opener: Any = gzip.open if self.path.suffix.lower() == ".gz" else open
        file: IO[str] = opener(self.path, "rt", encoding="utf-8-sig", newline="")
        return file

    def _comments(self) -> list[str]:
        """Lines of an ECSV header without their "# "; empty for plain CSV."""
        with self._open() as file:
            lines = [line[1:].strip("\r\n") for line in _leading_comments(file)]
        if lines and lines[0].strip().startswith("%ECSV"):
            return lines
        if lines and self._delimiter in lines[-1]:
            self.remark = f" (if #{lines[-1]} are the names, take the # away: it makes a comment)"
        return []

    def _rows(self) -> Iterator[list[str]]:
        with self._open() as file:
            comments = sum(1 for _ in _leading_comments(file))
        with self._open() as file:
            lines = islice(file, comments, None)
            header = next(lines, "")
            spaced = self._delimiter != " " and f"{self._delimiter} " in header
            rows = csv.reader(
                chain([header], lines), delimiter=self._delimiter, skipinitialspace=spaced
            )
            names = next((row for row in rows if row), [])
            yield names
            if any(name.endswith(" ") for name in names):  # columns are filled up with blanks
                yield from ([cell.rstrip(" ") for cell in row] for row in rows if row)
            else:
                yield from (row for row in rows if row)

    def _blocks(self) -> Iterator[list[tuple[str, ...]]]:
        rows = self._rows()
        names = next(rows, [])
        done = 1
        while block := list(islice(rows, CHUNK_ROWS)):
            for number, row in enumerate(block, done):
                if len(row) != len(names):
                    raise CatalogueError(
                        f"{self.path}: row {number} has {len(row)} cells, the header {len(names)}"
                    )
            done += len(block)
            yield list(zip(*block, strict=True))

    def _names(self) -> list[str]:
        cells = next(self._rows(), [])
        if not cells:
            raise CatalogueError(f"{self.path}: the file is empty")
        # pandas leaves the name of its index empty
        names = [cell.strip() or f"column_{number}" for number, cell in enumerate(cells, 1)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CatalogueError(f"{self.path}: two columns are named {twice[0]!r}")
        return names

    def _guessed(self) -> dict[str, ColumnSpec | None]:
        names = self._names()
        guesses = [_Guess(exact=name in self._exact) for name in names]
        for block in self._blocks():
            for guess, cells in zip(guesses, block, strict=True):
                guess.update(cells)
        return {
            name: ColumnSpec(name, guess.dtype())
            for name, guess in zip(names, guesses, strict=True)
        }

    def _declared(self, lines: list[str]) -> dict[str, ColumnSpec | None]:
        from astropy.table.meta import get_header_from_yaml

        try:
            header = get_header_from_yaml([line.removeprefix(" ") for line in lines])
            columns = header["datatype"]
        except Exception as error:  # the YAML parser has errors of many kinds
            raise unreadable(self.path, error) from error
        self._delimiter = header.get("delimiter", " ")
        self._escaped = STRINGS_KEY in (header.get("meta") or {})
        names = self._names()
        if names != [column["name"] for column in columns]:
            raise CatalogueError(f"{self.path}: the names in the header and the first row differ")
        return {column["name"]: _declared_spec(column) for column in columns}

    def chunks(self) -> Iterator[dict[str, Values]]:
        """Read from the first row; see `TableReader.chunks`."""
        try:
            for block in self._blocks():
                yield {
                    spec.name: self._values(cells, spec)
                    for cells, spec in zip(block, self.specs.values(), strict=True)
                    if spec is not None
                }
        except (OSError, EOFError, ValueError, csv.Error) as error:
            raise unreadable(self.path, error) from error

    def _values(self, cells: Sequence[str], spec: ColumnSpec) -> Values:
        if spec.is_text:
            return unescape_all(cells) if self._escaped else list(cells)
        if spec.shape:
            vectors = [json.loads(cell) if cell else None for cell in cells]
            return normalize(list(map(_fill_nan, vectors)) if spec.is_float else vectors, spec)
        convert: Any = _TRUTH.__getitem__ if spec.dtype == "bool" else _converter(spec)
        return normalize([convert(cell) if cell else None for cell in cells], spec)


def _leading_comments(file: IO[str]) -> Iterator[str]:
    for line in file:
        if not line.startswith("#"):
            return
        yield line


def _converter(spec: ColumnSpec) -> type:
    return float if spec.is_float else int


def _fill_nan(row: Any) -> Any:
    return None if row is None else [float("nan") if value is None else value for value in row]


def _declared_spec(column: dict[str, Any]) -> ColumnSpec | None:
    kind = column.get("subtype") or column["datatype"]
    dtype, bracket, size = kind.rstrip("]").partition("[")
    dtype = nearest_dtype(dtype)
    if dtype not in DTYPES or (bracket and (not size.isdigit() or dtype in DTYPES[:2])):
        return None
    shape = (int(size),) if bracket else ()
    meta = column.get("meta") or {}
    unit, description = str(column.get("unit") or ""), column.get("description") or ""
    return ColumnSpec(column["name"], dtype, unit, str(meta.get("ucd", "")), description, shape)
