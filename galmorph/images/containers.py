"""Many cutouts in one file: tar shards, npy and npz stacks, HDF5 data sets, Parquet columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.cutout import Cutout
from galmorph.images.options import ReadOptions
from galmorph.images.source import Source, make_printable

__all__ = ["list_container", "read_stack_item"]

STACK_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")
ITEM = re.compile(r"(?P<whole>.+)\[(?P<index>[0-9]+)\]", re.DOTALL)


def list_container(path: str) -> Iterator[Source]:
    """List the cutouts of a container, lazily and in its order.

    Parameters
    ----------
    path : str
        ``*.tar``, ``*.tar::member``, ``*.npy``, ``*.npz``, ``*.npz::name``, ``*.h5::dataset``,
        ``*.parquet``, ``*.parquet::column``; each but the first two also with ``[12]`` behind it,
        for one item alone. What `Source.address` gives is among these.

    Raises
    ------
    ImageError
        The container cannot be opened.
    MissingExtraError
        h5py or pyarrow is not installed.
    """
    if item := ITEM.fullmatch(path):
        return _pick_item(list_container(item["whole"]), int(item["index"]), path)
    file, _, member = path.partition("::")
    lowered = file.lower()
    if lowered.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
        from galmorph.images.tar import list_tar

        return _pick_member(list_tar(file), member, path) if member else list_tar(file)
    if lowered.endswith(".parquet"):
        from galmorph.images.parquet import list_parquet

        return list_parquet(file, member)
    if lowered.endswith((".npz", ".h5", ".hdf5") if member else STACK_SUFFIXES):
        from galmorph.images.stacks import list_stack

        return list_stack(file, member)
    raise UnsupportedImageError(
        "'::' names a member of .tar, .npz, .h5 or .parquet files only", path
    )


def _pick_member(members: Iterator[Source], name: str, path: str) -> Iterator[Source]:
    """The first member of that name."""
    for source in members:
        if source.member in (name, ""):  # "" is a tar file that is damaged here
            yield source
            return
    raise UnreadableImageError("there is no such member", make_printable(path))


def _pick_item(items: Iterator[Source], index: int, path: str) -> Iterator[Source]:
    found = list(islice(items, index, index + 1))
    if not found:
        raise UnreadableImageError("there are not so many items", make_printable(path))
    yield from found


def read_stack_item(source: Source, *, options: ReadOptions) -> Cutout:
    """Read one item of a stack; see `galmorph.images.stacks.read_item`."""
    from galmorph.images.stacks import read_item

    return read_item(source, options=options)
