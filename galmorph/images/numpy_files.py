"""npy and npz: arrays of numpy, one in a file of its own or several in a zip."""

import io
import math
import struct
import weakref
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from galmorph.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from galmorph.images.archives import ENCRYPTED, METHODS, open_zip
from galmorph.images.cutout import Array
from galmorph.images.source import Source
from galmorph.images.stacks import StoredArray, list_stack

HEADER_BYTES = 1 << 16
READ_BYTES = 1 << 20
MAX_HELD_BYTES = 1 << 30  # of all arrays out of npz files together; an npy is mapped


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the items of a stack; see `galmorph.images.stacks.list_stack`."""
    return list_stack(path, member, _open_npz if path.lower().endswith(".npz") else _open_npy)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, Any, int]:
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
        raise UnreadableImageError("the header of the array is damaged") from error
    if min(shape, default=0) < 0:
        raise UnreadableImageError(f"the shape of the array is {shape}")
    return shape, fortran, dtype, length


def _open_npy(path: str) -> dict[str, StoredArray]:
    with open(path, "rb") as file:
        shape, fortran, dtype, start = _read_header(file)
        missing = start + math.prod(shape) * dtype.itemsize - file.seek(0, 2)
    if dtype.hasobject:
        raise UnreadableImageError("it holds Python objects; save numbers")
    if missing > 0:
        raise UnreadableImageError(f"the array is cut short by {missing} bytes")
    pixels: Any = np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
    return {"": StoredArray(pixels)}


def _open_npz(path: str) -> dict[str, StoredArray]:
    """A zip of npy files, each unpacked when it is asked for."""
    archive = open_zip(path)
    infos = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    if any(info.flag_bits & ENCRYPTED or info.compress_type not in METHODS for info in infos):
        reason = "packed or encrypted in a way that is not read; save it by numpy.savez"
        raise UnsupportedImageError(reason)
    return {info.filename.removesuffix(".npy"): _NpzArray(archive, info) for info in infos}


_held: "weakref.WeakSet[_NpzArray]" = weakref.WeakSet()


class _NpzArray(StoredArray):
    """An array that is unpacked whole, for one bit that is wrong shows only at its end."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive, self._info = archive, info
        with archive.open(info) as stream:
            self.shape, self._fortran, self.dtype, self._start = _read_header(stream)
        self.is_pickled = self.dtype.hasobject
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        if not self.is_pickled and self.nbytes != info.file_size - self._start:
            raise UnreadableImageError("the header of the array is damaged")
        self._data: Array | Exception | None = None

    def read(self, index: int | slice | None, limit: int) -> Array:
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

    def _load(self) -> Array:
        if self.nbytes > MAX_HELD_BYTES:
            raise ImageTooLargeError(f"{self.nbytes} bytes in memory; save it as .npy")
        while sum(array.nbytes for array in _held) + self.nbytes > MAX_HELD_BYTES:
            next(iter(_held)).drop()
        data = bytearray()
        with self._archive.open(self._info) as stream:
            stream.read(self._start)
            while part := stream.read(READ_BYTES):  # no more than the directory says
                data += part
        if len(data) < self.nbytes:
            raise UnreadableImageError("the array is cut short")
        _held.add(self)
        array: Array = np.frombuffer(data, self.dtype)
        return array.reshape(self.shape, order="F" if self._fortran else "C")
