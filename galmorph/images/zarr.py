"""Zarr stacks (a folder, version 2 or 3)."""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any, cast

from galmorph.errors import GalmorphError, ImageTooLargeError, UnreadableImageError
from galmorph.images.cutout import Array
from galmorph.images.library import import_extra, quiet
from galmorph.images.memory import InMemory
from galmorph.images.parquet import read_columns
from galmorph.images.source import (
    NEW_COPY,
    Lost,
    Source,
    find_column,
    make_object_id,
    place_columns,
)
from galmorph.images.stacks import StackItem, StoredArray, list_stack
from galmorph.remote import ask, exists, fetch, is_url

MAX_CHUNK_BYTES = 1 << 30  # of what is read together; Cutana's chunks are of 786 MB
ITEMS_TOGETHER = 64
BYTES_TOGETHER = 64 << 20  # of items that take a request each


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the items of an array; columns also come from ``NAME_metadata.parquet`` beside it."""
    items = list_stack(path, member, _open_zarr)
    first = next(items, None)
    if not isinstance(first, StackItem) or first.index is None:
        return iter(()) if first is None else iter((first,))
    items = _add_columns(cast("Iterator[StackItem]", chain((first,), items)), path)
    stack = _open_zarr(path)[first.member]
    chunk, size = stack.values.chunks[0], math.prod(stack.shape[1:]) * stack.dtype.itemsize
    wanted = min(ITEMS_TOGETHER, BYTES_TOGETHER // max(size, 1)) if is_url(path) else 1
    count = int(max(wanted // chunk, 1) * chunk)
    return _read_ahead(items, stack, count) if count > 1 else items


def _add_columns(items: Iterator[StackItem], path: str) -> Iterator[StackItem]:
    place = path.rstrip("/")[: -len(".zarr")] + "_metadata.parquet"
    if not exists(place):
        yield from items
        return
    copy = fetch(place) if is_url(place) else None
    columns = read_columns(copy.path if copy else place)
    names = columns.get(find_column(columns) or "original_filename")
    columns = place_columns(columns)
    rows = {index: k for k, index in enumerate(columns.get("idx_in_zarr", ()))}
    for item in items:
        k = rows.get(item.index, item.index) or 0
        if any(k >= len(values) for values in columns.values()):
            yield item
            continue
        name = make_object_id(str(names[k])) if names else item.object_id
        row = {key: values[k] for key, values in columns.items()}
        yield replace(item, object_id=name, columns={**item.columns, **row})


def _read_ahead(items: Iterator[StackItem], stack: StoredArray, count: int) -> Iterator[Source]:
    with ThreadPoolExecutor(1, "galmorph-zarr") as pool:
        pending: Future[list[Source]] | None = None
        while batch := list(islice(items, count)):
            following = pool.submit(_read_together, batch, stack)
            yield from pending.result() if pending else ()
            pending = following
        yield from pending.result() if pending else ()


def _read_together(batch: list[StackItem], stack: StoredArray) -> list[Source]:
    first, last = batch[0], batch[-1]
    read = partial(stack.read, slice(first.index, (last.index or 0) + 1), MAX_CHUNK_BYTES)
    try:
        pixels = ask(first.path, read) if is_url(first.path) else read()
    except Exception as error:  # whatever a damaged chunk raises inside a library
        lost: GalmorphError = UnreadableImageError(f"the stack is damaged or cut short; {NEW_COPY}")
        lost = error if isinstance(error, GalmorphError) else lost
        return [Lost(item.object_id, item.address, lost, item.columns) for item in batch]
    return [
        InMemory(item.object_id, array, item.address, item.columns)
        for item, array in zip(batch, pixels, strict=True)
    ]


def _open_zarr(path: str) -> dict[str, StoredArray]:
    """Arrays of a group, or the one without a name."""
    zarr = import_extra("zarr", "zarr", "to read Zarr stacks")
    with quiet():  # of files beside the arrays
        opened = partial(zarr.open, path, mode="r")
        top: Any = ask(path, opened) if is_url(path) else opened()
        nodes = {"": top} if hasattr(top, "shape") else dict(top.members(None))
    return {name: _ZarrArray(node) for name, node in nodes.items() if hasattr(node, "shape")}


class _ZarrArray(StoredArray):
    """An array whose chunks are asked for their size before they are unpacked."""

    def read(self, index: int | slice | None, limit: int) -> Array:
        chunks = self.values.chunks
        counts = [-(-length // step) for length, step in zip(self.shape, chunks, strict=True)]
        if index is not None:
            rows = index if isinstance(index, slice) else slice(index, index + 1)
            counts[0] = -(-rows.stop // chunks[0]) - rows.start // chunks[0]
        if math.prod(chunks) * math.prod(counts) * self.dtype.itemsize > limit:
            raise ImageTooLargeError(f"chunks of {chunks} are too much to unpack")
        return super().read(index, limit)
