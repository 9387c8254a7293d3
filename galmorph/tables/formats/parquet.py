"""Parquet, through pyarrow.

Provenance stands in the metadata of the schema, beside astropy's ``table_meta_yaml``; vectors are
lists of fixed size; empty strings stay empty, as astropy cannot read null ones.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.quantities import plain
from galmorph.tables.cells import Values, missing_values, normalize
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import readable, restore
from galmorph.tables.formats.base import CHUNK_ROWS, MAX_BYTES, Format, TableReader, make_spec
from galmorph.tables.formats.csv import make_header
from galmorph.tables.journal import Journal

ROW_GROUP_BYTES = 32 << 20  # of values that are written as one row group, about
MAX_CELL = 1 << 18  # bytes of a value on the average, where there are very many
PROVENANCE = "provenance.json"  # in a folder of parts, for all of them
_ARROW_NAMES = {
    **{"large_string": "str", "string_view": "str"},
    **{"float": "float32", "double": "float64", "halffloat": "float32"},
}


def _arrow_schema(rows: Journal, meta: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    yaml = "\n".join(make_header(rows.specs, meta)[2:])
    metadata = {"galmorph": json.dumps(plain(meta)), "table_meta_yaml": yaml}
    fields: list[Any] = []
    for spec, measure in zip(rows.specs, rows.measure(), strict=True):
        kind = pa.string() if spec.is_text else pa.from_numpy_dtype(np.dtype(spec.dtype))
        facts = {"unit": spec.unit, "ucd": spec.ucd, "description": spec.description}
        own = {key: value for key, value in facts.items() if value}
        if spec.shape:  # without a null in it: it is read sooner
            kind = pa.list_(pa.field("element", kind, nullable=False), spec.shape[0])
        fields.append(pa.field(spec.name, kind, metadata=own or None))
        if spec.is_text:
            metadata[f"table::len::{spec.name}"] = str(max(measure.length, 1))
    return pa.schema(fields, metadata=metadata)


def _arrow_array(values: Values, spec: ColumnSpec, kind: Any) -> Any:
    import pyarrow as pa

    if isinstance(values, list):
        return pa.array(list(map(readable, values)), type=pa.string())
    missing = missing_values(values)
    mask = missing if missing.any() and not spec.is_float else None
    plain_values = np.ma.getdata(values)
    if spec.shape:
        return pa.FixedSizeListArray.from_arrays(pa.array(plain_values.ravel()), type=kind)
    return pa.array(plain_values, mask=mask)


def write(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write one Parquet file in row groups, zstd-compressed but for vectors: they do not shrink."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = _arrow_schema(rows, meta)
    scalar = [spec.name for spec in rows.specs if not spec.shape]
    packed: Any = {"compression": dict.fromkeys(scalar, "zstd"), "use_dictionary": scalar}
    batches: list[Any] = []
    with parquet.ParquetWriter(path, schema, **packed) as writer:
        size = 0
        for columns in rows.values():
            arrays = list(map(_arrow_array, columns, rows.specs, schema.types))
            batches.append(pa.record_batch(arrays, schema=schema))
            size += batches[-1].nbytes
            if size > ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(batches))
                batches, size = [], 0
        if batches:
            writer.write_table(pa.Table.from_batches(batches))


class ParquetReader(TableReader):
    """Rows of a Parquet file, or of all in a folder, by batches."""

    spelled = staticmethod(restore)

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        found = (p for p in self.path.rglob("*") if p.suffix in (".parquet", ".pq"))
        # HATS keeps the schema and a sample in files of their own.
        files = sorted(p for p in found if not p.name.startswith(("_", ".", "data_thumbnail")))
        if not files:
            raise CatalogueError(f"{self.path}: the folder holds no Parquet file")
        return files

    def _open(self) -> dict[str, ColumnSpec | None]:
        from astropy.table.meta import get_header_from_yaml
        from pyarrow import parquet

        with parquet.ParquetFile(self._files()[0]) as file:
            schema = file.schema_arrow
        metadata = schema.metadata or {}
        if b"galmorph" in metadata:
            self.provenance = json.loads(metadata[b"galmorph"])
        beside = self.path / PROVENANCE
        if not self.provenance and beside.is_file():
            self.provenance = json.loads(beside.read_bytes())
        # of astropy; slow to parse, and ours say the same in the fields themselves
        text = "" if b"galmorph" in metadata else metadata.get(b"table_meta_yaml", b"").decode()
        columns = get_header_from_yaml(text.split("\n"))["datatype"] if text else ()
        declared = {column["name"]: column for column in columns}
        return {field.name: _spec(field, declared.get(field.name, {})) for field in schema}

    def _read(self) -> Iterator[dict[str, Values]]:
        from pyarrow import parquet

        wanted = self.wanted()
        texts = [name for name, spec in wanted.items() if spec.is_text]
        for path in self._files():  # a word of a dictionary stays one, however often it comes
            with parquet.ParquetFile(path, read_dictionary=texts) as file:
                for group in map(file.metadata.row_group, range(file.num_row_groups)):
                    # by whole groups: pyarrow aborts where it is asked for a damaged column
                    if group.total_byte_size > MAX_BYTES:
                        self.check_size(group.total_byte_size // max(group.num_rows, 1), MAX_CELL)
                missing = file.metadata.num_rows
                for k in range(file.num_row_groups):  # all at once would stay in memory
                    for batch in file.iter_batches(CHUNK_ROWS, [k], list(wanted)):
                        missing -= batch.num_rows
                        yield {name: _values(batch.column(name), s) for name, s in wanted.items()}
                if missing:  # of damaged pages pyarrow makes none, without a word
                    raise CatalogueError(f"{path}: {missing} of its rows cannot be read")


def _spec(field: Any, declared: Mapping[str, Any]) -> ColumnSpec | None:
    import pyarrow as pa

    kind: Any = field.type
    shape: tuple[int, ...] = ()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_fixed_size_list(kind):
        kind, shape = kind.value_type, (kind.list_size,)
    own = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    facts = {**declared, **(declared.get("meta") or {}), **own}
    return make_spec(field.name, _ARROW_NAMES.get(str(kind), str(kind)), shape, facts)


def _values(column: Any, spec: ColumnSpec) -> Values:
    if hasattr(column, "dictionary"):
        if spec.is_text and len(column.dictionary) <= len(column):  # each word once
            words = np.array([*normalize(column.dictionary.to_pylist(), spec), ""], dtype=object)
            return list(words[column.indices.fill_null(-1).to_numpy()])
        column = column.dictionary_decode()
    flat = column.flatten() if spec.shape else None
    gaps = flat is not None and flat.null_count and not spec.is_float
    if spec.is_text or column.null_count or gaps:
        return normalize(column.to_pylist(), spec)
    if flat is not None:
        array = np.asarray(flat.to_numpy(zero_copy_only=False))
        return normalize(array.reshape(len(column), *spec.shape), spec)
    return normalize(column.to_numpy(zero_copy_only=False), spec)


FORMAT = Format("Parquet", (".parquet", ".pq"), ParquetReader, write, package="pyarrow")
