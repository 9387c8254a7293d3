"""Zarr stacks (a folder, version 2 or 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

from galmorph.errors import ImageTooLargeError, MissingExtraError
from galmorph.images.quiet import quiet
from galmorph.images.source import Source, make_printable
from galmorph.images.stacks import StoredArray, list_stack

__all__ = ["list_items"]


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the items of an array; see `galmorph.images.stacks.list_stack`."""
    return list_stack(path, member, _ZarrFolder)


class _ZarrFolder:
    """An open array, or group of arrays."""

    def __init__(self, path: str) -> None:
        self._shown = make_printable(path)
        try:
            import zarr
        except ImportError as error:
            raise MissingExtraError("zarr", "zarr", f"to read {self._shown}") from error
        with quiet():
            self._top: Any = zarr.open(path, mode="r")

    def __getitem__(self, name: str) -> StoredArray:
        node = self._top[name] if name else self._top
        if not hasattr(node, "shape"):
            raise KeyError(name)
        return _ZarrArray(node, self._shown)

    def list_arrays(self, group: str = "") -> dict[str, StoredArray]:
        top = self._top[group] if group else self._top
        if hasattr(top, "shape"):
            return {} if group else {"": _ZarrArray(top, self._shown)}
        with quiet():  # of files beside the arrays
            members = [(f"{group}/{name}".lstrip("/"), node) for name, node in top.members(None)]
        return {name: _ZarrArray(n, self._shown) for name, n in members if hasattr(n, "shape")}


class _ZarrArray(StoredArray):
    """An array whose chunks are asked for their size before they are unpacked."""

    def __init__(self, values: Any, shown: str) -> None:
        super().__init__(values)
        self._shown = shown

    def read(self, index: int | slice | None, limit: int) -> npt.NDArray[Any]:
        chunks = self.values.chunks
        counts = [-(-length // step) for length, step in zip(self.shape, chunks, strict=True)]
        if isinstance(index, int):
            counts[0] = 1
        if math.prod(chunks) * math.prod(counts) * self.dtype.itemsize > limit:
            raise ImageTooLargeError(f"chunks of {chunks} are too much to unpack", self._shown)
        return super().read(index, limit)
