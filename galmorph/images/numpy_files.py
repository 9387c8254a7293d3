"""npy and npz: arrays of numpy, one in a file of its own or several in a zip."""

from __future__ import annotations

import io
import math
import struct
import weakref
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from galmorph.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from galmorph.images.source import NEW_COPY, Source, make_printable
from galmorph.images.stacks import StoredArray, list_stack
from galmorph.images.zip import ENCRYPTED, METHODS

__all__ = ["list_items"]

HEADER_BYTES = 1 << 16
READ_BYTES = 1 << 20
MAX_HELD_BYTES = 1 << 30
"""Of all arrays out of npz files together; a larger one belongs into an npy, which is mapped."""


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the items of a stack; see `galmorph.images.stacks.list_stack`."""
    if path.lower().endswith(".npz"):
        return list_stack(path, member, _NpzFile)
    if member:
        shown = make_printable(path)
        raise UnsupportedImageError("a npy file holds one array, which has no name", shown)
    return list_stack(path, "", _NpyFile)


def _read_header(stream: IO[bytes], shown: str) -> tuple[tuple[int, ...], bool, Any, int]:
    """Shape, order of the axes (Fortran's?), type, and length of the header itself."""
    start = stream.read(12)  # the pixels behind the header may be damaged, and are not touched
    size, used = ("<H", 10) if start[6:7] == b"\1" else ("<I", 12)
    try:
        length = struct.unpack_from(size, start, 8)[0] + used
        head = io.BytesIO(start + stream.read(min(length, HEADER_BYTES) - len(start)))
        version = npy.read_magic(head)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(head)
    except Exception as error:  # it is parsed as Python, and may be anything
        raise UnreadableImageError("the header of the array is damaged", shown) from error
    if min(shape, default=0) < 0:
        raise UnreadableImageError(f"the shape of the array is {shape}", shown)
    return shape, fortran, dtype, length


class _NpyFile:
    """One array without a name, memory-mapped."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            shape, fortran, dtype, start = _read_header(file, path)
            missing = start + math.prod(shape) * dtype.itemsize - file.seek(0, 2)
        if dtype.hasobject:
            raise UnreadableImageError("it holds Python objects; save numbers", path)
        if missing > 0:
            raise UnreadableImageError(f"the array is cut short by {missing} bytes", path)
        pixels: Any = np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
        self._array = StoredArray(pixels)

    def __getitem__(self, name: str) -> StoredArray:
        return self._array

    def list_arrays(self, group: str = "") -> dict[str, StoredArray]:
        return {"": self._array}


class _NpzFile:
    """A zip of npy files, each unpacked when it is asked for."""

    def __init__(self, path: str) -> None:
        shown = make_printable(path)
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise UnreadableImageError(
                f"not an npz file, or cut short; {NEW_COPY}", shown
            ) from error
        self._arrays: dict[str, StoredArray] = {}
        for info in archive.infolist():
            if info.flag_bits & ENCRYPTED or info.compress_type not in METHODS:
                reason = "packed or encrypted in a way that is not read; save it by numpy.savez"
                raise UnsupportedImageError(reason, shown)
            if info.filename.endswith(".npy"):
                name = info.filename.removesuffix(".npy")
                self._arrays[name] = _NpzArray(archive, info, shown)

    def __getitem__(self, name: str) -> StoredArray:
        return self._arrays[name]

    def list_arrays(self, group: str = "") -> dict[str, StoredArray]:
        if group:
            raise KeyError(group)
        return self._arrays


_held: weakref.WeakSet[_NpzArray] = weakref.WeakSet()


class _NpzArray(StoredArray):
    """An array that is unpacked whole, for one bit that is wrong shows only at its end."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, shown: str) -> None:
        self._archive, self._info, self._shown = archive, info, shown
        with archive.open(info) as stream:
            self.shape, self._fortran, self.dtype, self._start = _read_header(stream, shown)
        self.is_pickled = self.dtype.hasobject
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        if not self.is_pickled and self.nbytes != info.file_size - self._start:
            raise UnreadableImageError("the header of the array is damaged", shown)
        self._data: npt.NDArray[Any] | Exception | None = None

    def read(self, index: int | slice | None, limit: int) -> npt.NDArray[Any]:
        if self._data is None:
            try:
                self._data = self._load()
            except Exception as error:  # each of its rows will ask
                self._data = error
        if isinstance(self._data, Exception):
            raise self._data
        return np.array(self._data if index is None else self._data[index])

    def drop(self) -> None:
        """Give the memory back; the next item unpacks the array again."""
        self._data = None
        _held.discard(self)

    def _load(self) -> npt.NDArray[Any]:
        if self.nbytes > MAX_HELD_BYTES:
            reason = f"the array takes {self.nbytes} bytes in memory; save it as .npy"
            raise ImageTooLargeError(reason, self._shown)
        while sum(array.nbytes for array in _held) + self.nbytes > MAX_HELD_BYTES:
            next(iter(_held)).drop()
        data = bytearray()
        with self._archive.open(self._info) as stream:
            stream.read(self._start)
            while part := stream.read(READ_BYTES):  # no more than the directory says
                data += part
        if len(data) < self.nbytes:
            raise UnreadableImageError("the array is cut short", self._shown)
        _held.add(self)
        array: npt.NDArray[Any] = np.frombuffer(data, self.dtype)
        return array.reshape(self.shape, order="F" if self._fortran else "C")
