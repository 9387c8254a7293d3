"""Parquet and Arrow files with an image column (the Image feature of Hugging Face datasets)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from galmorph.errors import (
    GalmorphError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.library import MAX_BYTES, import_extra, reading
from galmorph.images.records import make_record_source
from galmorph.images.source import NEW_COPY, Lost, Source, make_object_id, to_text

ROWS_AT_ONCE = 16
READ_BYTES = 1 << 20
MAX_LOST_ROWS = 1 << 20
USUAL_RATIO = 4  # by which large columns of images are packed at most


def list_items(path: str, column: str) -> Iterator[Source]:
    """List the rows of a file that holds images, with its scalar columns, 16 at a time.

    The image column holds bytes, or a struct of ``bytes`` and ``path``. What is damaged takes the
    rest of its row group with it.
    """
    if path.lower().endswith(".arrow"):
        yield from _list_arrow(path, column)
        return
    file = _open(path)
    column = _find_column(file.schema_arrow, column)
    names = [column, *_list_scalars(file.schema_arrow, column)]
    row = 0
    for group in range(file.num_row_groups):
        end = row + file.metadata.row_group(group).num_rows
        try:
            for batch in _list_batches(file, group, names, ROWS_AT_ONCE):
                for source in _list_batch(batch, path, column, row):
                    yield source
                    row += 1
        except Exception as error:  # damaged pages raise nearly anything
            yield from _list_lost(path, column, row, end, error)
        row = end


def _list_arrow(path: str, column: str) -> Iterator[Source]:
    batches = _open_arrow(path)
    column = _find_column(batches.schema, column)
    row = 0
    try:
        for batch in batches:
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                yield from _list_batch(batch.slice(start, ROWS_AT_ONCE), path, column, row + start)
            row += batch.num_rows
    except Exception as error:  # a damaged file raises nearly anything
        yield from _list_lost(path, column, row, row + 1, error)


def read_columns(path: str) -> dict[str, list[Any]]:
    """Numbers and texts of a Parquet file, by column."""
    file = _open(path)
    names = _list_scalars(file.schema_arrow)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for group in range(file.num_row_groups):
        for batch in _list_batches(file, group, names, MAX_LOST_ROWS):
            for name in names:
                columns[name] += _to_list(batch.column(name))
    return columns


def _find_column(schema: Any, column: str) -> str:
    """The column of that name, or the one of images; an `UnsupportedImageError` if it is none."""
    if not column:
        if not (fields := [field for field in schema if _holds_images(field.type)]):
            raise UnsupportedImageError("no column of images (bytes)")
        structs = [field for field in fields if hasattr(field.type, "get_field_index")]
        column = str((structs or fields)[0].name)
    if column not in schema.names:
        there = ", ".join(schema.names[:12])
        raise UnsupportedImageError(f"no column {column!r}; there are {there}")
    if not _holds_images(schema.field(column).type):
        raise UnsupportedImageError(
            f"the column {column!r} holds {schema.field(column).type}, not the bytes of images (of "
            f"paths? give it with --catalogue FILE --path-column {column})"
        )
    return column


def _list_lost(path: str, column: str, row: int, end: int, error: Exception) -> Iterator[Source]:
    stem, lost = make_object_id(path), error
    if not isinstance(lost, GalmorphError):
        lost = UnreadableImageError(f"the Parquet file is damaged; {NEW_COPY}")
    if end - row > MAX_LOST_ROWS:  # as many as a damaged number says
        yield Lost(stem, path, lost)
        return
    for number in range(row, end):
        yield Lost(f"{stem}_{number}", f"{path}::{column}[{number}]", lost)


def _open(path: str) -> Any:
    parquet = import_extra("pyarrow.parquet", "parquet", "to read Parquet files")
    with reading(f"not a Parquet file, or damaged or cut short; {NEW_COPY}"):
        return parquet.ParquetFile(path, buffer_size=READ_BYTES)


def _open_arrow(path: str) -> Any:
    pa = import_extra("pyarrow", "parquet", "to read Arrow files")
    with reading(f"not an Arrow file, or damaged or cut short; {NEW_COPY}"):
        with suppress(ValueError):  # of the other of its two kinds
            return pa.ipc.open_stream(pa.memory_map(path))
        whole = pa.ipc.open_file(pa.memory_map(path))
    return pa.RecordBatchReader.from_batches(
        whole.schema, map(whole.get_batch, range(whole.num_record_batches))
    )


def _holds_images(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    with_bytes = types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    plain = types.is_binary(kind) or types.is_large_binary(kind)
    view = getattr(types, "is_binary_view", lambda _: False)(kind)  # of newer pyarrow
    return bool(with_bytes or plain or view)


def _list_scalars(schema: Any, column: str = "") -> list[str]:
    from pyarrow import types

    kinds = (
        *(types.is_integer, types.is_floating, types.is_boolean),
        *(types.is_string, types.is_large_string),
    )
    names = (name for name in schema.names if name != column)
    return [name for name in names if any(kind(schema.field(name).type) for kind in kinds)]


def _list_batches(file: Any, group: int, names: list[str], rows: int) -> Iterator[Any]:
    """Rows of a group, at most so many at a time; fewer where a word of a dictionary is large."""
    metadata = file.metadata.row_group(group)
    for part in map(metadata.column, range(metadata.num_columns)):
        if part.path_in_schema.partition(".")[0] in names:
            packed, size = part.total_compressed_size, part.total_uncompressed_size
            if size > max(MAX_BYTES, USUAL_RATIO * packed):
                raise ImageTooLargeError(f"a column of {packed} bytes unpacks to {size}")
            if part.has_dictionary_page:
                rows = max(1, min(rows, MAX_BYTES // max(size, 1)))
    yield from file.iter_batches(rows, row_groups=[group], columns=names)


def _list_batch(batch: Any, path: str, column: str, row: int) -> Iterator[Source]:
    names = [column, *_list_scalars(batch.schema, column)]
    values = {name: _to_list(batch.column(name)) for name in names}
    for n in range(batch.num_rows):
        yield make_record_source(
            {name: items[n] for name, items in values.items()},
            column,
            name=f"{make_object_id(path)}_{row + n}",
            address=f"{path}::{column}[{row + n}]",
            folder=os.path.dirname(path),
        )


def _to_list(values: Any) -> list[Any]:
    """Python values of a column; text that is no UTF-8 with escapes in the place of its bytes."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_struct(values.type):
        fields = dict(zip((f.name for f in values.type), values.flatten(), strict=True))
        parts = {name: _to_list(fields[name]) for name in ("bytes", "path") if name in fields}
        return [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
    if types.is_string(values.type) or types.is_large_string(values.type):
        texts = values.cast(pa.large_binary()).to_pylist()
        return [None if text is None else to_text(text) for text in texts]
    return list(values.to_pylist())
