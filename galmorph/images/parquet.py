"""Parquet files with an image column (the Image feature of Hugging Face datasets)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from galmorph.errors import GalmorphError, UnreadableImageError, UnsupportedImageError
from galmorph.images.extras import import_extra
from galmorph.images.parquet_pages import find_largest_page
from galmorph.images.records import make_record_source
from galmorph.images.source import NEW_COPY, Lost, Source, make_object_id, to_text
from galmorph.settings import ReadOptions

ROWS_AT_ONCE = 16
READ_BYTES = 1 << 20
PAGE_BYTES = ReadOptions().max_bytes
MAX_LOST_ROWS = 1 << 20


def list_items(path: str, column: str) -> Iterator[Source]:
    """List the rows of a Parquet file that holds images, with its scalar columns.

    The image column holds bytes, or a struct of ``bytes`` and ``path``; it is found by its type
    where it is not named. Rows come from the disk 16 at a time, fewer where they are large. What
    is damaged takes the rest of its row group with it.
    """
    file = _open(path)
    column = find_column(file.schema_arrow, column)
    names = [column, *_list_scalars(file.schema_arrow, column)]
    row = 0
    for group in range(file.num_row_groups):
        end = row + file.metadata.row_group(group).num_rows
        try:
            for batch in _list_batches(file, path, group, names, ROWS_AT_ONCE):
                for source in list_batch(batch, path, column, row):
                    yield source
                    row += 1
        except Exception as error:  # damaged pages raise nearly anything
            yield from list_lost(path, column, row, end, error)
        row = end


def read_columns(path: str) -> dict[str, list[Any]]:
    """Numbers and texts of a Parquet file, by column."""
    file = _open(path)
    names = _list_scalars(file.schema_arrow)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for group in range(file.num_row_groups):
        for batch in _list_batches(file, path, group, names, MAX_LOST_ROWS):
            for name in names:
                columns[name] += _to_list(batch.column(name))
    return columns


def find_column(schema: Any, column: str) -> str:
    """The column of that name, or the one of images; an `UnsupportedImageError` if it is none."""
    column = column or _find_image_column(schema)
    if column not in schema.names:
        there = ", ".join(schema.names[:12])
        raise UnsupportedImageError(f"no column {column!r}; there are {there}")
    if not _holds_images(schema.field(column).type):
        raise UnsupportedImageError(
            f"the column {column!r} holds {schema.field(column).type}, not the bytes of images (of "
            f"paths? give it with --catalogue FILE --path-column {column})"
        )
    return column


def list_lost(path: str, column: str, row: int, end: int, error: Exception) -> Iterator[Source]:
    """Sources of rows that cannot be read."""
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
    try:
        return parquet.ParquetFile(path, buffer_size=READ_BYTES)
    except (OSError, ValueError) as error:  # what Arrow raises is one of them
        reason = f"not a Parquet file, or damaged or cut short; {NEW_COPY}"
        raise UnreadableImageError(reason) from error


def _find_image_column(schema: Any) -> str:
    from pyarrow import types

    fields = [field for field in schema if _holds_images(field.type)]
    if not fields:
        raise UnsupportedImageError("no column of images (bytes)")
    structs = [field for field in fields if types.is_struct(field.type)]
    return str((structs or fields)[0].name)


def _holds_images(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    with_bytes = types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    plain = types.is_binary(kind) or types.is_large_binary(kind)
    view = getattr(types, "is_binary_view", lambda _: False)(kind)  # of newer pyarrow
    return bool(with_bytes or plain or view)


def _is_scalar(schema: Any, name: str) -> bool:
    from pyarrow import types

    kind = schema.field(name).type
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return bool(number or types.is_string(kind) or types.is_large_string(kind))


def _list_scalars(schema: Any, column: str = "") -> list[str]:
    return [name for name in schema.names if name != column and _is_scalar(schema, name)]


def _list_batches(file: Any, path: str, group: int, names: list[str], rows: int) -> Iterator[Any]:
    """Rows of a group, at most so many at a time, and fewer where they are large."""
    largest = _find_largest(file, path, group, set(names))
    rows = max(1, min(rows, PAGE_BYTES // max(largest, 1)))
    yield from file.iter_batches(rows, row_groups=[group], columns=names)


def list_batch(batch: Any, path: str, column: str, row: int) -> Iterator[Source]:
    """Sources of some rows, of which the first has that number."""
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


def _find_largest(file: Any, path: str, group: int, names: set[str]) -> int:
    """Largest page of some columns: no value in it can be larger."""
    metadata = file.metadata.row_group(group)
    largest = 0
    with open(path, "rb") as opened:
        for n in range(metadata.num_columns):
            part = metadata.column(n)
            if part.path_in_schema.partition(".")[0] in names:
                start = part.data_page_offset
                if part.has_dictionary_page and part.dictionary_page_offset:
                    start = min(start, part.dictionary_page_offset)
                size = part.total_compressed_size
                page = find_largest_page(opened.fileno(), start, size, PAGE_BYTES)
                largest = max(largest, page)
    return largest


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
