"""Many cutouts in one file: which kinds there are, and how their addresses are spelled."""

import importlib
import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.files import check_within, open_regular
from galmorph.images.memory import list_copied
from galmorph.images.raster import TEXT_START, find_answer
from galmorph.images.source import Source
from galmorph.remote import check_named, expect, is_url, take


class Container(NamedTuple):
    """A kind of container; its module here has ``list_items(path, member)``."""

    module: str
    suffixes: tuple[str, ...]
    searched: bool = False  # whether those that lie in a folder are read with it
    is_folder: bool = False  # whether it is a folder itself


CONTAINERS = (
    Container("archives", (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), searched=True),
    Container("archives", (".zip",)),
    Container("numpy_files", (".npy", ".npz")),
    Container("hdf5", (".h5", ".hdf5")),
    Container("asdf", (".asdf",)),
    Container("zarr", (".zarr",), searched=True, is_folder=True),
    Container("parquet", (".parquet",)),
    Container("parquet", (".arrow",), searched=True),
)
SEARCHED_SUFFIXES = tuple(end for kind in CONTAINERS if kind.searched for end in kind.suffixes)
FOLDER_SUFFIXES = tuple(end for kind in CONTAINERS if kind.is_folder for end in kind.suffixes)
ADDRESS = re.compile(r"(?P<file>.*?)(?:::(?P<member>.*?))?(?:\[(?P<index>[0-9]+)\])?\Z", re.DOTALL)
"""``stack.npy[12]``, ``shard.tar::name.jpg``, ``file.h5::images[12]``."""


def _find(file: str) -> Container | None:
    lowered = file.lower()
    return next((kind for kind in CONTAINERS if lowered.endswith(kind.suffixes)), None)


def split_address(address: str) -> tuple[str, str, int | None]:
    """File, member and number of an address; those of a plain file are "" and None."""
    found = ADDRESS.match(address)
    if found is None or _find(found["file"]) is None:
        return address, "", None
    index = found["index"]
    return found["file"], found["member"] or "", None if index is None else int(index)


def is_container(path: str) -> bool:
    """Whether a path is one of a container or of something in it, by its name."""
    return _find(split_address(path)[0]) is not None


def list_container(path: str, within: str | None = None) -> Iterator[Source]:
    """List the cutouts of a container or of one address in it, lazily and in its order."""
    file, member, index = split_address(path)
    if (kind := _find(file)) is None:
        raise UnsupportedImageError("'::' names a member of .tar, .npz, .h5 or .parquet files only")
    module = importlib.import_module(f"galmorph.images.{kind.module}")
    list_items: Callable[[str, str], Iterator[Source]] = module.list_items
    check = check_named if is_url(file) else check_within
    check(file, within)
    if is_url(file) and not kind.is_folder:
        copy = take(file)
        with copy.naming():
            _check_kind(copy.path)
        items = list_copied(list_items(copy.path, member), copy)
    else:
        if not is_url(file):
            _check_kind(file)
        items = list_items(file, member)
    if index is None:
        yield from items
    elif found := list(islice(items, index, index + 1)):
        yield from found
    else:
        raise UnreadableImageError("there are not so many items")


def expect_container(path: str) -> None:
    """Begin to copy a container that is opened next, where it is a URL."""
    file = split_address(path)[0]
    kind = _find(file)
    if is_url(file) and kind is not None and not kind.is_folder:
        expect(file)


def _check_kind(file: str) -> None:
    """Refuse what would keep a reader waiting for ever, and a server's answer."""
    if not os.path.isdir(file):
        with open_regular(file) as (descriptor, _):
            if answer := find_answer(os.pread(descriptor, TEXT_START, 0)):
                raise UnsupportedImageError(answer)
