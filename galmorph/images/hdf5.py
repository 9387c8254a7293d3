"""HDF5 data sets: stacks of arrays, or of the bytes of image files."""

import itertools
import math
import mmap
import zlib
from contextlib import suppress
from functools import cache, partial
from typing import Any

import numpy as np

from galmorph.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from galmorph.images.compressed import DEFLATE_RATIO
from galmorph.images.cutout import Array
from galmorph.images.library import import_extra
from galmorph.images.source import make_printable
from galmorph.images.stacks import StoredArray, list_stack

CACHE_BYTES = 32 << 20  # of chunks, so that one chunk of many items is unpacked once
MAX_ARRAYS = 10_000
MAX_LINKS = 8
HEAP_ID = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])  # in a data set
SHORTEST_FILE = 512  # in bytes: what is as long and fixed is the file of an image, and no text
DEFLATE = 1
HEAP_MAGIC = b"GCOL\1\0\0\0"  # of a global heap: 16 bytes, then objects of 16 bytes and more


class _Hdf5File(dict[str, StoredArray]):
    """Data sets of an open file, of which nothing is followed that points to another one."""

    def __init__(self, path: str) -> None:
        self._h5py = import_extra("h5py", "hdf5", "to read HDF5 files")
        self._file = self._h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
        self.path, self.check_heaps = path, cache(partial(_check_heaps, path))
        elsewhere: list[UnsupportedImageError] = []

        def collect(name: str, node: Any) -> bool | None:
            with suppress(KeyError):  # a group, or without a shape
                try:
                    self[name] = self._wrap(node, name)
                except UnsupportedImageError as error:
                    elsewhere.append(error)
            return True if len(self) >= MAX_ARRAYS else None

        self._file.visititems(collect)
        if elsewhere and not self:
            raise elsewhere[0]
        for name in () if self else self._file:
            self._find(name)  # perhaps a link elsewhere, which is refused

    def __missing__(self, name: str) -> StoredArray:
        return self._wrap(self._find(name), name)

    def _wrap(self, node: Any, name: str) -> StoredArray:
        """The array of a data set, unless its values lie in other files."""
        if not isinstance(node, self._h5py.Dataset) or node.shape is None:
            raise KeyError(name)
        if node.external or node.is_virtual:
            kind = "external storage" if node.external else "a virtual data set"
            reason = f"{name} is {kind}: its values lie in other files, which are not read"
            raise UnsupportedImageError(make_printable(reason))
        return _DataSet(node, self)

    def _find(self, name: str, links: int = 0) -> Any:
        """What a name stands for, step by step, because h5py would follow every link."""
        node: Any = self._file
        parts = [part for part in name.split("/") if part]
        for n, part in enumerate(parts):
            link = node.get(part, getlink=True) if isinstance(node, self._h5py.Group) else None
            if link is None:
                raise KeyError(name)
            if isinstance(link, self._h5py.ExternalLink):
                reason = f"{part} is a link to another file, {link.filename}, which is not followed"
                raise UnsupportedImageError(make_printable(reason))
            if isinstance(link, self._h5py.SoftLink):
                if links >= MAX_LINKS:
                    raise KeyError(name)
                before = "" if link.path.startswith("/") else "/".join(parts[:n])
                return self._find("/".join((before, link.path, *parts[n + 1 :])), links + 1)
            node = node[part]
        return node


def _check_heaps(path: str) -> None:
    """Refuse damaged heaps of texts and files of any length: HDF5 would go round for ever."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with data:
        at = data.find(HEAP_MAGIC)
        while at >= 0:
            end = at + int.from_bytes(data[at + 8 : at + 16], "little")
            at += 16
            while at + 16 <= end <= len(data):
                index = int.from_bytes(data[at : at + 2], "little")
                size = int.from_bytes(data[at + 8 : at + 16], "little")
                at += 16 + -(-size // 8) * 8 if index else size or len(data)
            if max(at, end) > len(data):
                raise UnreadableImageError("a heap of the file is damaged")
            at = data.find(HEAP_MAGIC, at)


class _DataSet(StoredArray):
    """A data set whose chunks are asked for their size before HDF5 unpacks them."""

    def __init__(self, values: Any, file: _Hdf5File) -> None:
        super().__init__(values)
        self._path, self._check_heaps = file.path, file.check_heaps
        vlen = (self.dtype.metadata or {}).get("vlen")
        self.holds_files = len(self.shape) == 1 and (
            self.dtype.kind == "V"
            or (self.dtype.kind == "S" and self.dtype.itemsize >= SHORTEST_FILE)
            or (isinstance(vlen, np.dtype) and vlen.itemsize == 1)
        )

    def read(self, index: int | slice | None, limit: int) -> Array:
        if self.dtype.hasobject:
            self._check_heaps()
            self._check_lengths(index, limit)
        if self.values.chunks:
            self._check_chunks(index, limit)
        return super().read(index, limit)

    def _check_lengths(self, index: int | slice | None, limit: int) -> None:
        """HDF5 asks for as much memory as a length says; those in chunks are not looked at."""
        start = self.values.id.get_offset()
        if start is None or not self.shape:
            return
        lengths: Array = np.memmap(self._path, HEAP_ID, "r", start, self.shape)
        if np.sum(lengths["length"][index], dtype=np.uint64) > limit:
            raise ImageTooLargeError(f"items of more than {limit} bytes")

    def _check_chunks(self, index: int | slice | None, limit: int) -> None:
        chunks, first = self.values.chunks, range(self.shape[0])
        rows = first if index is None else first[index] if isinstance(index, slice) else [index]
        size = math.prod(chunks) * self.dtype.itemsize
        starts = [range(0, length, step) for length, step in zip(self.shape, chunks, strict=True)]
        starts[0] = range(min(rows) // chunks[0] * chunks[0], max(rows) + 1, chunks[0])
        if size * math.prod(map(len, starts)) > limit:
            reason = f"chunks of {chunks} must be unpacked, {size} bytes each; save smaller ones"
            raise ImageTooLargeError(reason)
        creation = self.values.id.get_create_plist()
        filters = [creation.get_filter(n)[0] for n in range(creation.get_nfilters())]
        if filters.count(DEFLATE) > 1:
            raise UnsupportedImageError("data deflated twice are not unpacked")
        if DEFLATE in filters:
            for place in itertools.product(*starts):
                self._check_deflated(place, size, limit)

    def _check_deflated(self, place: tuple[int, ...], size: int, limit: int) -> None:
        """HDF5 unpacks a stream to its end, however long the chunk should be."""
        stored = self.values.id.get_chunk_info_by_coord(place).size
        if (stored or 0) * DEFLATE_RATIO <= limit:
            return
        _, data = self.values.id.read_direct_chunk(place)
        if len(zlib.decompressobj().decompress(data, size + 1)) > size:
            raise ImageTooLargeError("a chunk unpacks to more than it may hold")


list_items = partial(list_stack, open_arrays=_Hdf5File)
