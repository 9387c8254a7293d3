"""Parquet files with an image column (the Image feature of Hugging Face datasets)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from galmorph.errors import (
    MissingExtraError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.source import Lost, Source, make_object_id, make_printable

__all__ = ["list_items"]

ROWS_AT_ONCE = 16
ID_NAMES = ("object_id", "id", "id_str", "dr8_id", "iauname", "name")


def list_items(path: str, column: str) -> Iterator[Source]:
    """List the rows of a Parquet file that holds images, with its scalar columns.

    The image column holds bytes, or a struct of ``bytes`` and ``path``; it is found by its type
    where it is not named. Rows come from the disk 16 at a time.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    UnreadableImageError, UnsupportedImageError
        Not a Parquet file, or without an image column.
    """
    file = _open(path)
    schema = file.schema_arrow
    column = column or _find_image_column(schema, path)
    if column not in schema.names:
        raise UnsupportedImageError(
            f"no column {column!r}; there are {', '.join(schema.names[:12])}",
            make_printable(path),
        )
    if not _holds_images(schema.field(column).type):
        raise UnsupportedImageError(
            f"the column {column!r} holds {schema.field(column).type}, not the bytes of images (of "
            f"paths? give it with --catalogue FILE --path-column {column})",
            make_printable(path),
        )
    scalars = [name for name in schema.names if name != column and _is_scalar(schema, name)]
    return _list_rows(file, path, column, scalars)


def _open(path: str) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", f"to read {make_printable(path)}") from error
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        reason = f"not a Parquet file ({error})"
        raise UnreadableImageError(reason, make_printable(path)) from error


def _find_image_column(schema: Any, path: str) -> str:
    from pyarrow import types

    fields = [field for field in schema if _holds_images(field.type)]
    if not fields:
        raise UnsupportedImageError("no column of images (bytes)", make_printable(path))
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
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
    )


def _list_rows(file: Any, path: str, column: str, scalars: list[str]) -> Iterator[Source]:
    import pyarrow as pa

    row = 0
    try:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=[column, *scalars]):
            for record in batch.to_pylist():
                yield _make_source(record, path, column, row)
                row += 1
    except (OSError, pa.ArrowException) as error:
        reason = f"the Parquet file is damaged; its further rows are lost ({error})"
        broken = UnreadableImageError(reason, make_printable(path))
        yield Lost(make_object_id(path), path, broken)


def _make_source(record: dict[str, Any], path: str, column: str, row: int) -> Source:
    image = record.pop(column)
    name = ""
    if isinstance(image, dict):
        name, image = image.get("path") or "", image.get("bytes")
    identifier = next((str(record[key]) for key in ID_NAMES if record.get(key) is not None), "")
    identifier = identifier or (make_object_id(name) if name else f"{make_object_id(path)}_{row}")
    address = f"{path}::{column}[{row}]"
    if image is None:
        found = _find_file(name, path)
        if found:
            return ImageFile(make_printable(identifier), found, record)
        reason = f"the row names a file that is not there: {name}" if name else "the row is empty"
        missing = UnreadableImageError(make_printable(reason), make_printable(address))
        return Lost(make_printable(identifier), address, missing, record)
    return InMemory(make_printable(identifier), image, address, record)


def _find_file(name: str, parquet: str) -> str:
    """The file that a row names, beside the Parquet file or from the current folder; or ""."""
    places = (os.path.join(os.path.dirname(parquet), name), name) if name else ()
    return next((place for place in places if os.path.isfile(place)), "")
