"""Many cutouts in one file: tar shards, npy and npz stacks, HDF5 data sets, Parquet columns."""

from __future__ import annotations

from collections.abc import Iterator

from galmorph.errors import UnsupportedImageError
from galmorph.images.cutout import Cutout
from galmorph.images.options import ReadOptions
from galmorph.images.source import Source

__all__ = ["list_container", "read_stack_item"]


def list_container(path: str) -> Iterator[Source]:
    """List the cutouts of a container, lazily and in its order.

    Parameters
    ----------
    path : str
        ``*.tar``, ``*.npy``, ``*.npz``, ``*.npz::name``, ``*.h5::dataset``, ``*.parquet``,
        ``*.parquet::column``.

    Raises
    ------
    ImageError
        The container cannot be opened.
    MissingExtraError
        h5py or pyarrow is not installed.
    """
    file, _, member = path.partition("::")
    lowered = file.lower()
    if lowered.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
        from galmorph.images.tar import list_tar

        return list_tar(file)
    if lowered.endswith(".parquet"):
        from galmorph.images.parquet import list_parquet

        return list_parquet(file, member)
    if lowered.endswith((".npy", ".npz", ".h5", ".hdf5")):
        from galmorph.images.stacks import list_stack

        return list_stack(file, member)
    raise UnsupportedImageError("'::' names a member of .npz, .h5 or .parquet files only", path)


def read_stack_item(source: Source, *, options: ReadOptions) -> Cutout:
    """Read one item of a stack; see `galmorph.images.stacks.read_item`."""
    from galmorph.images.stacks import read_item

    return read_item(source, options=options)
