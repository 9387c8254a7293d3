"""ASDF files (Roman and others): their arrays by the names of the tree, as flux without a WCS."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from galmorph.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from galmorph.images.library import MAX_BYTES, import_extra, quiet
from galmorph.images.source import NEW_COPY, make_printable
from galmorph.images.stacks import StoredArray, list_stack

MAX_TREE_BYTES = 4 << 20
TREE_END = b"\n..."
BLOCK_MAGIC = b"\xd3BLK"


class _AsdfFile(dict[str, StoredArray]):
    """Arrays of an open file of which nothing is followed that points to another one."""

    def __init__(self, path: str) -> None:
        asdf = import_extra("asdf", "asdf", "to read ASDF files")
        _check_blocks(path)
        with quiet():  # of every object of a library that is not installed
            self._file = asdf.open(path, lazy_load=True, memmap=False)
        for name, array in _walk(self._file.tree, "", set()):
            elsewhere = getattr(array, "_source", None)
            if isinstance(elsewhere, str):
                reason = f"{name} lies in another file, {elsewhere}, which is not read"
                raise UnsupportedImageError(make_printable(reason))
            self[name] = StoredArray(array)

    def __del__(self) -> None:
        with suppress(Exception):  # nobody can be told of an error any more
            self._file.close()


def _walk(node: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Arrays of a tree, in which one branch may hang in many places."""
    if hasattr(node, "shape") and hasattr(node, "dtype"):
        yield name, node
    elif isinstance(node, dict) and id(node) not in seen:
        seen.add(id(node))
        for key, value in node.items():
            yield from _walk(value, f"{name}/{key}".lstrip("/"), seen)


def _check_blocks(path: str) -> None:
    """Refuse a tree that takes minutes to parse, and blocks that unpack to more than an image."""
    with open(path, "rb") as file:
        start = file.read(MAX_TREE_BYTES)
        at = start.find(BLOCK_MAGIC, max(start.find(TREE_END), 0))
        if TREE_END not in start and len(start) < MAX_TREE_BYTES:
            raise UnreadableImageError(f"the ASDF file is cut short; {NEW_COPY}")
        if TREE_END not in start:
            raise ImageTooLargeError("the tree of the file is too large")
        while at > 0:
            file.seek(at)
            header = file.read(54)
            if not header.startswith(BLOCK_MAGIC) or len(header) < 54:
                return
            allocated, _, size = (int.from_bytes(header[n : n + 8], "big") for n in (14, 22, 30))
            if header[10:14] != bytes(4) and size > MAX_BYTES:
                raise ImageTooLargeError(f"a block unpacks to {size} bytes")
            at += 6 + int.from_bytes(header[4:6], "big") + allocated


list_items = partial(list_stack, open_arrays=_AsdfFile)
