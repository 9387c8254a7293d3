"""npy and npz: arrays of numpy, one in a file of its own or several in a zip."""

import errno
import io
import math
import zipfile
from collections.abc import Iterator
from functools import cached_property
from shutil import copyfileobj
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from galmorph.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from galmorph.images.archives import ENCRYPTED, METHODS, open_zip
from galmorph.images.cutout import Array
from galmorph.images.library import reading
from galmorph.images.source import Source
from galmorph.images.stacks import StoredArray, list_stack

HEADER_BYTES = 1 << 16
READ_BYTES = 1 << 20
STRANGE_HEADER = "the header of the array is damaged"
MAX_UNPACKED_BYTES = 1 << 30  # of an array out of an npz; an npy is mapped


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the items of a stack; see `galmorph.images.stacks.list_stack`."""
    return list_stack(path, member, _open_npz if path.lower().endswith(".npz") else _open_npy)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, Any, int]:
    """Shape, order of the axes (Fortran's?), type, and length of the header itself."""
    start = stream.read(10)  # the pixels behind the header may be damaged, and are not touched
    start += b"" if start[6:7] == b"\1" else stream.read(2)
    length = int.from_bytes(start[8:], "little")
    head = io.BytesIO(start + stream.read(min(length, HEADER_BYTES)))
    with reading(STRANGE_HEADER):  # it is parsed as Python, which may raise anything
        version = npy.read_magic(head)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(head)
    if min(shape, default=0) < 0:
        raise UnreadableImageError(f"the shape of the array is {shape}")
    return shape, fortran, dtype, head.tell()


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


class _NpzArray(StoredArray):
    """An array that is unpacked whole, for one bit that is wrong shows only at its end."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive, self._info = archive, info
        with archive.open(info) as stream:
            self.shape, self._fortran, self.dtype, self._start = _read_header(stream)
        self.is_pickled = self.dtype.hasobject
        size = math.prod(self.shape) * self.dtype.itemsize
        if not self.is_pickled and size != info.file_size - self._start:
            raise UnreadableImageError(STRANGE_HEADER)

    def read(self, index: int | slice | None, limit: int) -> Array:
        if isinstance(self._unpacked, Exception):
            raise self._unpacked
        return np.array(self._unpacked if index is None else self._unpacked[index])

    @cached_property
    def _unpacked(self) -> Array | Exception:
        try:
            return self._unpack()
        except Exception as error:  # each of its rows will ask
            if getattr(error, "errno", None) != errno.ENOSPC:
                return error
            return ImageTooLargeError(f"no room in {gettempdir()} to unpack it; set TMPDIR")

    def _unpack(self) -> Array:
        """The array in a file without a name, which goes with it."""
        if self._info.file_size > MAX_UNPACKED_BYTES:
            raise ImageTooLargeError(f"{self._info.file_size} bytes unpacked; save it as .npy")
        with TemporaryFile(prefix="galmorph_") as file, self._archive.open(self._info) as stream:
            copyfileobj(stream, file, READ_BYTES)  # no more than the directory says
            order: Any = "F" if self._fortran else "C"
            return np.memmap(file, self.dtype, "r", self._start, self.shape, order)
