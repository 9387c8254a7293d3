"""Arrow files with an image column, as Hugging Face datasets on disk consist of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from galmorph.errors import UnreadableImageError
from galmorph.images.extras import import_extra
from galmorph.images.parquet import ROWS_AT_ONCE, find_column, list_batch, list_lost
from galmorph.images.source import NEW_COPY, Source


def list_items(path: str, column: str) -> Iterator[Source]:
    """List the rows of a file, as `galmorph.images.parquet` does."""
    batches = _open(path)
    column = find_column(batches.schema, column)
    row = 0
    try:
        for batch in batches:
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                yield from list_batch(batch.slice(start, ROWS_AT_ONCE), path, column, row + start)
            row += batch.num_rows
    except Exception as error:  # a damaged file raises nearly anything
        yield from list_lost(path, column, row, row + 1, error)


def _open(path: str) -> Any:
    pa = import_extra("pyarrow", "parquet", "to read Arrow files")
    try:
        with suppress(ValueError):  # of the other of its two kinds
            return pa.ipc.open_stream(pa.memory_map(path))
        whole = pa.ipc.open_file(pa.memory_map(path))
    except (OSError, ValueError) as error:  # what Arrow raises is one of them
        reason = f"not an Arrow file, or damaged or cut short; {NEW_COPY}"
        raise UnreadableImageError(reason) from error
    return pa.RecordBatchReader.from_batches(
        whole.schema, map(whole.get_batch, range(whole.num_record_batches))
    )
