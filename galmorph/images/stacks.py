"""Stacks of cutouts in one array, read item by item; what the kinds of files have in common."""

import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from galmorph.errors import BandError, GalmorphWarning, ImageError, UnsupportedImageError
from galmorph.images.arrays import cutout_from_array
from galmorph.images.cutout import Array, Cutout
from galmorph.images.files import read_head
from galmorph.images.hdus import COMPANION
from galmorph.images.library import MAX_BYTES, SharedSetting, check_pixels, reading
from galmorph.images.raster import decode_image
from galmorph.images.source import (
    NEW_COPY,
    Source,
    find_column,
    make_object_id,
    make_printable,
    place_columns,
    to_text,
)
from galmorph.remote import is_url
from galmorph.settings import ReadOptions

DAMAGED = "the stack is damaged or cut short, or packed in a way that is not known here; "
DAMAGED += f"{NEW_COPY}, or save it plainly"
OPEN_FILES = 4
ROWS_AT_ONCE = 1024  # for which the columns beside a stack are read
COLUMN_KINDS = "biufSUO"


class StoredArray:
    """An array in a file, of which items are read alone."""

    holds_files = is_pickled = False

    def __init__(self, values: Any) -> None:
        self.values = values
        self.shape: tuple[int, ...] = tuple(values.shape)
        self.dtype = np.dtype(values.dtype)

    def read(self, index: int | slice | None, limit: int) -> Array:
        """One item, some, or all; `ImageTooLargeError` where that takes more bytes than so many."""
        kind = self.dtype if self.dtype.kind == "S" else None  # with the zeros at its end
        return np.array(self.values[...] if index is None else self.values[index], kind)


ArrayFile = Mapping[str, StoredArray]  # by ``group/name``; one without a name is "" alone
OpenArrays = Callable[[str], ArrayFile]

# One lock for opening and for reading: HDF5 serializes its calls anyway, and the others copy
# one small item.
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class StackItem:
    """One item of a stack (n, ...); without an index the array is one image."""

    object_id: str
    path: str
    member: str
    index: int | None
    open_arrays: OpenArrays
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``file.h5::images[12]``."""
        array = f"{self.path}::{self.member}" if self.member else self.path
        return array if self.index is None else f"{array}[{self.index}]"

    def read(self, options: ReadOptions) -> Cutout:
        """Read it alone; the file stays open for the next one."""
        with _lock, reading(DAMAGED):
            stack = _get_file(self.path, self.open_arrays)[self.member]
            shape = stack.shape
            one = shape if self.index is None else shape[1:]
            check_pixels(math.prod(one), f"an array of shape {one}", options)
            array = stack.read(self.index, options.max_bytes)
        if stack.holds_files:
            return decode_image(array.tobytes(), options)
        if self.index is not None and array.ndim == 2 and len(options.bands or ()) > 1:
            raise BandError(
                f"the shape {shape} is that of {shape[0]} images of one band; save one image of "
                f"several bands as {(1, *shape)}"
            )
        return cutout_from_array(array, options)

    def read_head(self, count: int) -> bytes:
        return read_head(self.path, count)


def list_stack(path: str, member: str, open_arrays: OpenArrays) -> Iterator[Source]:
    """List the items of a stack (n, y, x) or with one more axis, or of encoded images (n,).

    Arrays of one axis and the same length beside it are columns of its items.
    """
    with _lock, reading(DAMAGED):
        arrays = _get_file(path, open_arrays)
        member = member.strip("/") or _find_member(arrays, path)
        try:
            stack = arrays[member]
        except KeyError as error:
            if list(arrays) == [""]:
                raise UnsupportedImageError("it holds one array, which has no name") from error
            inside = _list_images(arrays, f"{member}/")
            names = inside or _list_images(arrays)
            said = "is a group; name the data set"
            said = f"{member} {said}" if inside else f"no array {member!r}; name one"
            raise _refuse(said, path, names, *names[:1]) from error
        shape = stack.shape
        beside = _list_beside(arrays, member, shape, path)
    if len(shape) == 2 or (len(shape) == 3 and min(shape[0], shape[2]) <= 4):
        yield StackItem(make_object_id(path), path, member, None, open_arrays)
        return
    if len(shape) not in (3, 4) and not stack.holds_files:
        raise UnsupportedImageError(f"an array of shape {shape} is not a stack of images")
    for start in range(0, shape[0], ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, shape[0]))
        with _lock, reading(DAMAGED):
            read = {name: a.read(rows, MAX_BYTES).tolist() for name, a in beside.items()}
        columns: dict[str, list[Any]] = {
            name: [to_text(v) if isinstance(v, (bytes, str)) else v for v in values]
            for name, values in read.items()
        }
        ids = columns.get(find_column(columns) or "")
        columns = place_columns(columns)
        for n in range(rows.stop - start):
            object_id = str(ids[n]) if ids else f"{make_object_id(path)}_{start + n}"
            row = {name: values[n] for name, values in columns.items()}
            yield StackItem(object_id, path, member, start + n, open_arrays, row)


@lru_cache(OPEN_FILES)
def _open(
    open_arrays: OpenArrays, path: str, process: int, changed_ns: int
) -> ArrayFile | Exception:
    try:
        return open_arrays(path)
    except Exception as error:  # each of its rows will ask
        return error


def _get_file(path: str, open_arrays: OpenArrays) -> ArrayFile:
    """Open file of this process, one of the last that were used."""
    changed_ns = 0 if is_url(path) else os.stat(path).st_mtime_ns
    found = _open(open_arrays, path, os.getpid(), changed_ns)
    if isinstance(found, Exception):
        raise found
    return found


def _close() -> None:
    with _lock:
        _open.cache_clear()


# Files and arrays stay open for the next item, until the last run at the time has ended.
stacks_in_use = SharedSetting(lambda: _close)


def _find_member(arrays: ArrayFile, path: str) -> str:
    if list(arrays) == [""]:
        return ""
    names = _list_images(arrays)
    real = [name for name in names if not COMPANION.fullmatch(name.rpartition("/")[2])]
    if len(real) == 1 or len(names) == 1:
        return (real or names)[0]
    raise _refuse("name the array", path, names)


def _list_images(arrays: ArrayFile, start: str = "") -> list[str]:
    return [
        name
        for name, array in arrays.items()
        if name.startswith(start) and (len(array.shape) >= 2 or array.holds_files)
    ]


def _refuse(reason: str, path: str, names: list[str], example: str = "NAME") -> ImageError:
    """The error where a path does not say which array, with the arrays that there are."""
    shown = ", ".join(names[:8]) or "nothing with image axes"
    said = f"{reason}, as in {os.path.basename(path)}::{example}; it holds {shown}"
    return UnsupportedImageError(make_printable(said))


def _list_beside(
    arrays: ArrayFile, member: str, shape: tuple[int, ...], path: str
) -> dict[str, StoredArray]:
    """Arrays of one axis and the same length in the same group: columns of the items."""
    group = member.rpartition("/")[0]
    beside = {}
    for full, array in arrays.items():
        *_, name = full.rpartition("/")
        alike = array.shape == shape[:1] and full.rpartition("/")[0] == group
        if not alike or full == member or array.holds_files:
            continue
        if array.is_pickled and find_column([name]):
            warnings.warn(
                f"{make_printable(path)}: the identifiers {full!r} are Python objects, which are "
                "not read; save them as text (.astype(str)). Rows are numbered.",
                GalmorphWarning,
                stacklevel=2,
            )
        if not array.is_pickled and array.dtype.kind in COLUMN_KINDS:
            beside[name] = array
    return beside
