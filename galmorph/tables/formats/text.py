"""Tables of text: rows of cells written and read, types found where no header says them; IPAC."""

import csv
import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, takewhile
from operator import methodcaller, not_
from pathlib import Path
from typing import IO, Any

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import ColumnSpec, make_printable_name
from galmorph.tables.escape import restore_cell
from galmorph.tables.formats.base import (
    CHUNK_ROWS,
    Format,
    MemoryReader,
    TableReader,
    list_specs,
)

_MUST_QUOTE = re.compile(r'[",#\r\n]')
MAX_LINE = 1 << 26
CELL_BYTES, BLOCK_BYTES = 64, 1 << 27
MAX_SHOWN = 200  # letters of a line that a message shows
MAX_IPAC = 1 << 28  # bytes of a file, of which each takes some twenty in memory
MAX_CELL = 1 << 24  # characters; a line of 512 numbers has some 10,000


def _quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _MUST_QUOTE.search(cell) else cell


def join_rows(columns: Sequence[Sequence[str]], numbers: Sequence[bool] | None = None) -> str:
    """Lines of comma-separated values from columns of cells; `numbers` never need quotes."""
    bare = numbers or [False] * len(columns)
    quoted = [
        cells if plain or not _MUST_QUOTE.search("".join(cells)) else list(map(_quote, cells))
        for cells, plain in zip(columns, bare, strict=True)
    ]
    if len(quoted) == 1:  # an empty line would be no row
        quoted = [[cell or '""' for cell in quoted[0]]]
    return "".join([",".join(row) + "\n" for row in zip(*quoted, strict=True)])


def write_rows(path: Path, head: str, rows: Iterable[str]) -> None:
    """Write a file of text."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(head)
        file.writelines(rows)


_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf)", re.I)
_TRUTH = {"True": True, "true": True, "False": False, "false": False}
_INT64_MAX = np.iinfo(np.int64).max
_EXACT_MAX = 2**53  # up to here a float64 holds every whole number


def _is_whole(cell: str) -> bool:
    return _WHOLE.fullmatch(cell) is not None and abs(int(cell)) <= _INT64_MAX


def _is_number(cell: str) -> bool:
    # A whole number that a float cannot hold is an identifier, beside NaN as well.
    if _NUMBER.fullmatch(cell) is None:
        return False
    digits = cell.lstrip("+-")
    return not digits.isdigit() or (_is_whole(digits) and int(digits) <= _EXACT_MAX)


_is_comment = methodcaller("startswith", "#")
_TESTS = {"empty": not_, "bool": _TRUTH.__contains__, "int64": _is_whole, "float64": _is_number}


def _narrow(possible: Sequence[str], cells: Sequence[str]) -> list[str]:
    filled = [cell for cell in cells if cell]
    return [name for name in possible if all(map(_TESTS[name], filled))]


class TextReader(TableReader):
    """Rows of text."""

    delimiter = ","
    spelled: Callable[[str], str] | None = staticmethod(restore_cell)

    def _open(self) -> dict[str, ColumnSpec | None]:
        self.delimiter = "\t" if ".tsv" in self.path.name.lower() else ","
        comments = self.comments()
        if comments and self.delimiter in comments[-1]:
            last = make_printable_name(comments[-1][:MAX_SHOWN])
            self.remark = f" (if #{last} are the names, take the # away: it makes a comment)"
        names = self.names()
        only = set(names if self.only is None else self.only)
        possible = {
            k: [kind for kind in _TESTS if kind != "float64" or name not in self.exact]
            for k, name in enumerate(names)
            if name in only
        }
        for block in self._blocks():
            possible = {k: _narrow(types, block[k]) for k, types in possible.items()}
        dtypes = {names[k]: next(iter(types), "str") for k, types in possible.items()}
        self.empty = {name for name, dtype in dtypes.items() if dtype == "empty"}
        dtypes |= {name: "str" if name in self.exact else "float64" for name in self.empty}
        return {name: ColumnSpec(name, dtypes.get(name, "str")) for name in names}

    def comments(self) -> list[str]:
        """Lines of comment ahead of the names, without the "#"."""
        with self._text() as file:
            return [line[1:].strip("\r\n") for line in takewhile(_is_comment, read_lines(file))]

    def names(self) -> list[str]:
        """Names of the columns; a column without one, as the index of pandas, gets one."""
        cells = next(self._rows(), [])
        if not cells:
            raise CatalogueError(f"{self.path}: the file is empty")
        self.check_columns(len(cells))
        names = [cell.strip() or f"column_{number}" for number, cell in enumerate(cells, 1)]
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise CatalogueError(f"{self.path}: two columns are named {name!r}")
        return names

    def _text(self) -> IO[str]:
        opener: Any = gzip.open if self.path.suffix.lower() == ".gz" else open
        file: IO[str] = opener(self.path, "rt", encoding="utf-8-sig", newline="")
        return file

    def _rows(self) -> Iterator[list[str]]:
        with self._text() as file:
            comments = sum(1 for _ in takewhile(_is_comment, read_lines(file)))
        csv.field_size_limit(MAX_CELL)
        with self._text() as file:
            lines = islice(read_lines(file), comments, None)
            header = next(lines, "")
            spaced = self.delimiter != " " and f"{self.delimiter} " in header
            rows = csv.reader(
                chain([header], lines), delimiter=self.delimiter, skipinitialspace=spaced
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
        while block := list(_take(rows)):
            for number, row in enumerate(block, done):
                if len(row) != len(names):
                    raise CatalogueError(
                        f"{self.path}: row {number} has {len(row)} cells, the header {len(names)}"
                    )
            done += len(block)
            yield list(zip(*block, strict=True))

    def _read(self) -> Iterator[dict[str, Values]]:
        wanted = self.wanted()
        for block in self._blocks():
            cells = dict(zip(self.specs, block, strict=True))
            yield {name: self.values(cells[name], spec) for name, spec in wanted.items()}

    def values(self, cells: Sequence[str], spec: ColumnSpec) -> Values:
        """Values of one column."""
        if spec.is_text:
            return list(cells)
        if spec.is_float:
            return normalize(np.array([cell or "nan" for cell in cells], np.float64), spec)
        convert: Any = _TRUTH.__getitem__ if spec.dtype == "bool" else int
        return normalize([convert(cell) if cell else None for cell in cells], spec)


def read_lines(file: IO[str]) -> Iterator[str]:
    """Lines of a file, none of them endless."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(f"a line of it has more than {MAX_LINE} characters")
        yield line


def _take(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    size = 0
    for row in islice(rows, CHUNK_ROWS):
        yield row
        size += sum(map(len, row)) + CELL_BYTES * len(row)
        if size > BLOCK_BYTES:
            return


class IpacReader(MemoryReader):
    """Rows between the bars, read whole by astropy."""

    def _open(self) -> dict[str, ColumnSpec | None]:
        from astropy.io import ascii as tables

        self.check_size(self.path.stat().st_size, MAX_IPAC)
        self.table = tables.read(self.path, format="ipac")
        return list_specs(self.table)


IPAC = Format("IPAC", (".tbl", ".ipac"), IpacReader)
