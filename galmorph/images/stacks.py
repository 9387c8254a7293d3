"""Stacks of cutouts in one array: npy, npz and HDF5, read item by item."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    BandError,
    GalmorphWarning,
    ImageError,
    ImageTooLargeError,
    MissingExtraError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.arrays import cutout_from_array
from galmorph.images.cutout import Cutout
from galmorph.images.files import read_head
from galmorph.images.source import Source, make_object_id, make_printable
from galmorph.settings import ReadOptions

__all__ = ["StackItem", "list_items", "stacks_in_use"]

OPEN_STACKS = 4
MAX_NPZ_BYTES = 1 << 30
ID_NAMES = ("object_id", "id", "ids", "name", "names")
# One lock for the table and for reading: HDF5 serializes its calls anyway, and the others copy
# one small item.
_lock = threading.Lock()
_stacks: OrderedDict[tuple[int, str, str, int], Any] = OrderedDict()
_runs: set[object] = set()


@dataclass(frozen=True, slots=True)
class StackItem:
    """One item of a stack (n, ...); without an index the array is one image."""

    object_id: str
    path: str
    member: str
    index: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``file.h5::images[12]``."""
        array = f"{self.path}::{self.member}" if self.member else self.path
        return array if self.index is None else f"{array}[{self.index}]"

    def read(self, options: ReadOptions) -> Cutout:
        """Read it alone; the stack stays open for the next one."""
        shown = make_printable(self.address)
        with _lock:
            stack = _get_stack(self.path, self.member)
            shape = tuple(stack.shape)
            one = shape if self.index is None else shape[1:]
            if math.prod(one) > options.max_pixels:
                raise ImageTooLargeError(f"{one} is more than max_pixels", shown)
            array = _read_array(stack, self.index, shown)
        if self.index is not None and array.ndim == 2 and len(options.bands or ()) > 1:
            raise BandError(
                f"{shown}: the shape {shape} is that of {shape[0]} images of one band; save "
                f"one image of several bands as {(1, *shape)}"
            )
        return cutout_from_array(array, options=options, object_id=self.object_id, path=shown)

    def read_head(self, count: int) -> bytes:
        """First bytes of what holds the pixels."""
        return read_head(self.path, count)


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the items of a stack (n, y, x) or with one more axis, or a single image.

    The array may be left unnamed where there is only one with image axes. Identifiers come from a
    data set ``object_id``, ``id`` or ``name`` of the same length, else ``<stem>_<number>``.

    Raises
    ------
    UnreadableImageError, UnsupportedImageError
        Damaged, or without such an array.
    MissingExtraError
        HDF5 without h5py.
    """
    if member and path.lower().endswith(".npy"):
        raise UnsupportedImageError("a npy file holds one array, which has no name", path)
    member = member or _find_member(path)
    with _lock:
        try:
            array = _get_stack(path, member)
        except UnreadableImageError as error:
            if isinstance(error.__cause__, KeyError):
                names = _list_arrays(path)
                reason = f"no array {member!r}; name one"
                raise _ask_for_member(reason, path, names, *names[:1]) from error
            raise
        shape = tuple(array.shape)
        identifiers = _find_identifiers(path, member, shape)
    if len(shape) == 2 or (len(shape) == 3 and min(shape[0], shape[2]) <= 4):
        return iter([StackItem(make_object_id(path), path, member)])
    if len(shape) not in (3, 4):
        raise UnsupportedImageError(f"an array of shape {shape} is not a stack of images", path)
    return _list_items(path, member, shape[0], identifiers)


def _list_items(path: str, member: str, count: int, identifiers: list[str]) -> Iterator[Source]:
    stem = make_object_id(path)
    for index in range(count):
        object_id = identifiers[index] if identifiers else f"{stem}_{index}"
        yield StackItem(object_id, path, member, index)


def _read_array(stack: Any, index: int | None, shown: str) -> npt.NDArray[Any]:
    try:
        return np.array(stack[...] if index is None else stack[index])
    except (OSError, ValueError, IndexError, RuntimeError, KeyError) as error:
        raise UnreadableImageError(f"the item cannot be read ({error})", shown) from error


def _get_stack(path: str, member: str) -> Any:
    """Open array of this process, from a small table of the last ones used."""
    try:
        key = (os.getpid(), path, member, os.stat(path).st_mtime_ns)
        if key not in _stacks:
            _stacks[key] = _open_stack(path, member)
    except ImageError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        RuntimeError,
        MemoryError,
    ) as error:
        reason = f"the stack cannot be opened ({error})"
        raise UnreadableImageError(reason, make_printable(path)) from error
    _stacks.move_to_end(key)
    while len(_stacks) > OPEN_STACKS:
        _stacks.popitem(last=False)
    return _stacks[key]


@contextmanager
def stacks_in_use() -> Iterator[None]:
    """Keep files and arrays open for the next item, until the last run at the time has ended."""
    run = object()
    with _lock:
        _runs.add(run)
    try:
        yield
    finally:
        with _lock:
            _runs.discard(run)
            if not _runs:
                _stacks.clear()


def _open_stack(path: str, member: str) -> Any:
    lowered = path.lower()
    if lowered.endswith(".npy"):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if lowered.endswith(".npz"):
        return _load_npz(path, member)
    return _open_data_set(path, member)


def _load_npz(path: str, member: str) -> npt.NDArray[Any]:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(member + ".npy").file_size
    if size > MAX_NPZ_BYTES:
        raise UnsupportedImageError(
            f"the array {member} takes {size} bytes in memory; save it as .npy, which is mapped",
            path,
        )
    with np.load(path, allow_pickle=False) as arrays:
        array: npt.NDArray[Any] = arrays[member]
    return array


def _open_data_set(path: str, member: str) -> Any:
    node = _open_hdf5(path)[member]
    if getattr(node, "shape", None) is not None:
        return node
    inside = _list_images(node) if hasattr(node, "visititems") else []
    names = [f"{member.strip('/')}/{name}".lstrip("/") for name in inside]
    reason = f"{member} is {'a group' if inside else 'no array'}; name the data set"
    raise _ask_for_member(reason, path, names, *names[:1])


def _open_hdf5(path: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "hdf5", f"to read {make_printable(path)}") from error
    return h5py.File(path, "r")


def _find_member(path: str) -> str:
    if path.lower().endswith(".npy"):
        return ""
    names = _list_arrays(path)
    if len(names) == 1:
        return names[0]
    raise _ask_for_member("name the array", path, names)


def _ask_for_member(reason: str, path: str, names: list[str], example: str = "NAME") -> ImageError:
    """The error where a path does not say which array, with the arrays that there are."""
    shown = ", ".join(names[:8]) or "nothing with image axes"
    said = f"{reason}, as in {os.path.basename(path)}::{example}; it holds {shown}"
    return UnsupportedImageError(make_printable(said), make_printable(path))


def _list_arrays(path: str) -> list[str]:
    return _list_npz(path) if path.lower().endswith(".npz") else _list_hdf5(path)


def _list_npz(path: str) -> list[str]:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise UnreadableImageError(f"not an npz file ({error})", make_printable(path)) from error
    return [name for name in names if name not in ID_NAMES] if len(names) > 1 else names


def _list_hdf5(path: str) -> list[str]:
    try:
        with _open_hdf5(path) as file:
            return _list_images(file)
    except (OSError, RuntimeError, KeyError) as error:
        raise UnreadableImageError(f"not an HDF5 file ({error})", make_printable(path)) from error


def _list_images(group: Any) -> list[str]:
    """Names, from the group on, of what has image axes in it."""
    found: list[str] = []

    def collect(name: str, node: Any) -> None:
        if len(getattr(node, "shape", None) or ()) >= 2:
            found.append(name)

    group.visititems(collect)
    return found


def _find_identifiers(path: str, member: str, shape: tuple[int, ...]) -> list[str]:
    if path.lower().endswith(".npy"):
        return []
    folder = member.rpartition("/")[0]
    for name in ID_NAMES:
        full = f"{folder}/{name}" if folder else name
        try:
            values = _get_stack(path, full)
        except ImageError as error:
            if isinstance(error.__cause__, ValueError):  # there, but Python objects in a pickle
                warnings.warn(
                    f"{make_printable(path)}: the identifiers {full!r} cannot be read "
                    f"({error.__cause__}); save them as text (.astype(str)). Rows are numbered.",
                    GalmorphWarning,
                    stacklevel=2,
                )
            continue
        if getattr(values, "shape", None) == shape[:1]:
            return [_to_text(value) for value in np.asarray(values[...])]
    return []


def _to_text(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return make_printable(text)
