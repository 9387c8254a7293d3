"""What every format of tables is: how it is written, read, and told apart."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from galmorph.errors import CatalogueError, GalmorphError, TableFormatError
from galmorph.remote import Copy
from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import DTYPES, ColumnSpec, nearest_dtype
from galmorph.tables.journal import Journal

CHUNK_ROWS = 8192  # rows that are read at once
MAX_COLUMNS = MAX_VECTOR = 1 << 14  # columns as in a spreadsheet; numbers in a cell
MAX_BYTES, PACKED_RATIO = 1 << 28, 32  # what may come out of a packed table; of its size
OWN_COLUMNS = {"object_id", "path", "flags", "message"}  # what every result has that has names
SIGNS = "\\'%"  # one of them is in each text that `restore` may change
Kind = Literal["classify", "embed"]  # what a table is for: classes, or embeddings


class TableReader(ABC):
    """Columns and rows of one table; a spec is None where no output can hold the column.

    `exact` names columns of strings where types are guessed; `chunks` gives `only` these columns;
    `empty` are those without a value; `remark` is what may explain that a column is missing.
    """

    provenance: Mapping[str, Any] | None = None
    copy: Copy | None = None  # what is read in place of a URL, which `name` is then
    empty: Collection[str] = ()
    remark = ""
    restore: Callable[[str], str] = staticmethod(str)
    spelled: Callable[[str], str] | None = None

    def __init__(
        self, path: Path, exact: Collection[str] = (), only: Collection[str] | None = None
    ) -> None:
        self.path, self.exact, self.only = path, frozenset(exact), only
        self.name = str(path)
        self.specs: dict[str, ColumnSpec | None] = {}
        with self._refusing():
            self.specs = self._open()
            self.check_columns(len(self.specs))
            if self.spelled and self.specs.keys() >= OWN_COLUMNS:
                self.restore = self.spelled
            if only is None:
                self._leave_out_gaps()

    @abstractmethod
    def _open(self) -> dict[str, ColumnSpec | None]:
        """Find the columns, and the provenance."""

    @abstractmethod
    def _read(self) -> Iterator[dict[str, Values]]:
        """Rows from the first, some at a time."""

    def wanted(self) -> dict[str, ColumnSpec]:
        """Columns that can be held and are asked for."""
        only = self.specs if self.only is None else self.only
        return {name: spec for name, spec in self.specs.items() if spec and name in only}

    def chunks(self) -> Iterator[dict[str, Values]]:
        """Read from the first row, some rows at a time, as `normalize` gives them; repeatable."""
        with self._refusing():
            for chunk in self._read():
                texts = {n: v for n, v in chunk.items() if isinstance(v, list) and _is_marked(v)}
                yield chunk | {name: list(map(self.restore, v)) for name, v in texts.items()}

    def check_columns(self, count: int) -> None:
        """Refuse what is no table."""
        if count > MAX_COLUMNS:
            said = f"has {count} columns; at most {MAX_COLUMNS} are read"
            raise CatalogueError(f"{self.path}: {said}")

    def check_size(self, size: int, limit: int) -> None:
        """Refuse what would take more memory or room than a table may."""
        if size > limit:
            raise CatalogueError(
                f"{self.path}: would take more than {limit >> 20} MiB; unpack it, or make FITS, "
                "CSV or Parquet of it, which are read some rows at a time"
            )

    def check_unpacked(self, size: int) -> None:
        """The same for what comes out of a packed file."""
        self.check_size(size, MAX_BYTES + PACKED_RATIO * self.path.stat().st_size)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Whatever a parser says of a file becomes one sentence."""
        try:
            yield
        except GalmorphError as error:
            if self.copy is not None:
                self.copy.rename_error(error)
            raise
        except Exception as error:  # each parser has errors of many kinds
            reason = str(error).strip().partition("\n")[0][:300] or type(error).__name__
            raise CatalogueError(f"{self.name}: cannot be read as a table: {reason}") from error

    def _leave_out_gaps(self) -> None:
        """No format has a gap in a vector of whole numbers; all are read to find one."""
        specs = self.specs
        names = {name for name, s in specs.items() if s and s.shape and not s.is_float}
        if names:
            self.only = names
            gaps = {
                name for chunk in self._read() for name in names if np.ma.is_masked(chunk[name])
            }
            self.only = None
            self.specs = {name: None if name in gaps else spec for name, spec in specs.items()}


def _is_marked(texts: list[str]) -> bool:
    joined = "".join(texts)
    return any(sign in joined for sign in SIGNS)


@dataclass(frozen=True, slots=True)
class Format:
    """One format: `write` makes a file that is not there yet; None where it is only read."""

    name: str
    suffixes: tuple[str, ...]  # in lower case, the usual one first
    reader: type[TableReader]
    write: Callable[[Journal, Mapping[str, Any], Path], None] | None = None
    kinds: tuple[Kind, ...] = ("classify", "embed")
    provenance: bool = True
    package: str = ""  # what must be installed, by the extra of the format's name
    check: Callable[[Sequence[ColumnSpec]], None] = lambda specs: None  # refuses columns
    list_names: Callable[[Sequence[ColumnSpec]], list[str]] = lambda specs: [
        spec.name for spec in specs
    ]


def make_spec(
    name: str, dtype: Any, shape: Sequence[int] = (), facts: Mapping[str, Any] | None = None
) -> ColumnSpec | None:
    """A column as a file has it; None where no output format can hold the values."""
    if isinstance(dtype, np.dtype):
        if not dtype.itemsize:  # of such there may be any number of rows
            return None
        dtype = "str" if dtype.kind in "SU" else dtype.newbyteorder("=").name
    dtype, shape, known = nearest_dtype(dtype), tuple(shape), facts or {}
    vector = len(shape) == 1 and 0 < shape[0] <= MAX_VECTOR and dtype not in DTYPES[:2]
    if dtype not in DTYPES or (shape and not vector):
        return None
    unit, ucd, said = (str(known.get(key) or "") for key in ("unit", "ucd", "description"))
    return ColumnSpec(name, dtype, unit, ucd, said, shape)


def column_spec(column: Any) -> ColumnSpec | None:
    """What a column of astropy, or a Quantity of a QTable, says of itself."""
    if not hasattr(column, "dtype"):
        return None
    info = column.info
    facts = {"unit": "" if info.unit is None else info.unit, "description": info.description}
    facts["ucd"] = (info.meta or {}).get("ucd") or getattr(info, "ucd", None)
    dtype = column.dtype
    if dtype.kind == "O" and all(isinstance(v, str) or v is np.ma.masked for v in column):
        dtype = "str"  # of any length
    return make_spec(info.name, dtype, column.shape[1:], facts)


def list_specs(table: Any) -> dict[str, ColumnSpec | None]:
    """Columns of a table in memory."""
    return {name: column_spec(table[name]) for name in table.colnames}


def table_specs(table: Any) -> tuple[ColumnSpec, ...]:
    """The same; `TableFormatError` where no output can hold one."""
    specs = list_specs(table)
    refused = [name for name, spec in specs.items() if spec is None]
    if refused:
        raise TableFormatError(
            f"the columns {refused} are of types that no output can hold; make numbers or text of "
            "them, or leave them out"
        )
    return tuple(spec for spec in specs.values() if spec is not None)


class MemoryReader(TableReader):
    """A table that is there whole."""

    table: Any

    def _open(self) -> dict[str, ColumnSpec | None]:
        self.provenance = dict(self.table.meta)
        return list_specs(self.table)

    def _read(self) -> Iterator[dict[str, Values]]:
        for start in range(0, len(self.table), CHUNK_ROWS):
            rows = self.table[start : start + CHUNK_ROWS]
            yield {name: normalize(rows[name], spec) for name, spec in self.wanted().items()}


class TableInMemory(MemoryReader):
    """A table of astropy, or a frame of pandas."""

    def __init__(
        self, table: Any, exact: Collection[str] = (), only: Collection[str] | None = None
    ) -> None:
        from astropy.table import Table

        is_frame = not hasattr(table, "colnames")
        self.table = Table.from_pandas(table) if is_frame else table.copy(copy_data=False)
        super().__init__(Path("the table"), exact, only)
