"""Parquet, through pyarrow, by batches."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import MissingExtraError
from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import DTYPES, ColumnSpec, nearest_dtype
from galmorph.tables.readers.base import CHUNK_ROWS, TableReader, unreadable

__all__ = ["ParquetReader"]

_ARROW_NAMES = {"large_string": "str", "string_view": "str", "float": "float32"} | {
    "double": "float64",
    "halffloat": "float32",
}


class ParquetReader(TableReader):
    """Rows of a Parquet file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    MissingExtraError
        Where pyarrow is not installed.
    CatalogueError
        Where the file is no Parquet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._open() as file:
            schema = file.schema_arrow
            declared = _declared(schema.metadata or {})
            self.specs = {
                field.name: _spec(field, declared.get(field.name, {})) for field in schema
            }

    def _open(self) -> Any:
        if importlib.util.find_spec("pyarrow") is None:
            raise MissingExtraError("pyarrow", "parquet", "to read Parquet")
        import pyarrow as pa
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(self.path)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(self.path, error) from error

    def chunks(self) -> Iterator[dict[str, Values]]:
        """Read from the first row; see `TableReader.chunks`."""
        import pyarrow as pa

        names = [name for name, spec in self.specs.items() if spec]
        with self._open() as file:
            try:
                for batch in file.iter_batches(CHUNK_ROWS, columns=names):
                    yield {
                        name: _values(batch.column(name), spec)
                        for name, spec in self.specs.items()
                        if spec
                    }
            except (OSError, ValueError, pa.ArrowException) as error:
                raise unreadable(self.path, error) from error


def _declared(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What astropy says of the columns in the Parquet files that it writes."""
    from astropy.table.meta import get_header_from_yaml

    text = metadata.get(b"table_meta_yaml", b"").decode()
    header = get_header_from_yaml(text.split("\n")) if text else {"datatype": []}
    return {column["name"]: column for column in header["datatype"]}


def _spec(field: Any, declared: Mapping[str, Any]) -> ColumnSpec | None:
    import pyarrow as pa

    kind: Any = field.type
    shape: tuple[int, ...] = ()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_fixed_size_list(kind):
        kind, shape = kind.value_type, (kind.list_size,)
    dtype = nearest_dtype(_ARROW_NAMES.get(str(kind), str(kind)))
    if dtype not in DTYPES or (shape and dtype in DTYPES[:2]):
        return None
    own = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    facts = {**declared, **(declared.get("meta") or {}), **own}
    unit, ucd, description = (str(facts.get(key) or "") for key in ("unit", "ucd", "description"))
    return ColumnSpec(field.name, dtype, unit, ucd, description, shape)


def _values(column: Any, spec: ColumnSpec) -> Values:
    flat = column.flatten() if spec.shape else None
    gaps = flat is not None and flat.null_count and not spec.is_float
    if spec.is_text or column.null_count or gaps:
        return normalize(column.to_pylist(), spec)
    if flat is not None:
        array = np.asarray(flat.to_numpy(zero_copy_only=False))
        return normalize(array.reshape(len(column), *spec.shape), spec)
    return normalize(column.to_numpy(zero_copy_only=False), spec)
