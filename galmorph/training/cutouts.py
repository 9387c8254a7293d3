"""Cutouts to train on: where they are, what each is called, and of which class it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError, MissingExtraError
from galmorph.images.containers import SEARCHED_SUFFIXES, is_container, split_address
from galmorph.images.discover import discover_sources
from galmorph.images.files import IMAGE_SUFFIXES, ImageFile
from galmorph.images.source import Source
from galmorph.images.stacks import StackItem
from galmorph.tables.catalogue import list_columns, pick_column, read_catalogue
from galmorph.training.labelled import to_label

__all__ = ["Labeller", "is_table", "list_cutouts", "name_cutout"]

PATH = "galmorph_path"
"""A column that every row of a table has."""


def list_cutouts(argument: str, *, path_column: str | None = None) -> Iterator[Source]:
    """List the cutouts of one argument.

    Parameters
    ----------
    argument : str
        What `galmorph.images.discover.discover_sources` takes. A folder with tar shards in it
        stands for these alone, so that a test folder beside them is not trained on.
    path_column : str, optional
        Files other than tar shards and stacks are tables, and this column holds the paths.

    Raises
    ------
    ImageError
        The argument names nothing.
    CatalogueError
        A table cannot be read or has no such column.
    """
    if path_column is not None and is_table(argument):
        rows = read_catalogue(argument, path_column=path_column)
        return (ImageFile.of(row.path, {PATH: row.path, **row.columns}) for row in rows)
    return discover_sources(_list_shards(Path(argument)) or [argument])


def _list_shards(folder: Path) -> list[Path]:
    """Tar shards right in a folder; none in a file.

    A compressed tar beside images may hold anything, their labels for instance.
    """
    if not folder.is_dir():
        return []
    shown = [path for path in folder.glob("*") if not path.name.startswith(".")]
    plain = any(path.name.lower().endswith(IMAGE_SUFFIXES) for path in shown)
    endings = (".tar",) if plain else SEARCHED_SUFFIXES
    return sorted(path for path in shown if path.name.lower().endswith(endings))


def is_table(argument: str) -> bool:
    """Whether an argument may be a table: a file, and neither a tar shard nor a stack."""
    if not Path(argument).is_file():
        return False
    return argument.lower().endswith(".parquet") or not is_container(argument)


def name_cutout(argument: str, source: Source) -> str:
    """Name of a cutout inside the argument that it came from."""
    path, member, index = split_address(source.address)
    if member:
        name = member
    elif Path(argument).is_dir():
        name = str(PurePath(path).relative_to(argument))
    elif source.columns:
        name = os.path.relpath(path, PurePath(argument).parent)
    else:
        name = PurePath(path).name
    return name if index is None else f"{name}[{index}]"


class Labeller:
    """Says the class of a cutout: by the folder it lies in, on disk or in a tar shard.

    Parameters
    ----------
    column : str or None
        What names the class of others: a column of their table or Parquet file, or an array
        beside their stack. They have none without it.
    """

    def __init__(self, column: str | None) -> None:
        self.column = column
        self._beside: tuple[tuple[str, str], list[str]] | None = None

    def label(self, source: Source, name: str, argument: str) -> str:
        """Class of a cutout of that name inside an argument; "" where it has none.

        Raises
        ------
        CatalogueError
            There is no such column or array, or it is too short.
        """
        if source.columns:
            return to_label(self._pick(source.columns, argument)) if self.column else ""
        if isinstance(source, StackItem):
            known = self.column is not None and source.index is not None
            return self._find_beside(source, source.index or 0) if known else ""
        return PurePath(name).parent.name

    def _pick(self, columns: Mapping[str, Any], argument: str) -> Any:
        try:
            return pick_column(columns, str(self.column))
        except KeyError:
            there = [name for name in list_columns(columns) if name != PATH]
            raise _explain_absent(argument, str(self.column), there) from None

    def _find_beside(self, source: StackItem, index: int) -> str:
        key = (source.path, source.member)
        if self._beside is None or self._beside[0] != key:
            assert self.column is not None
            self._beside = key, _read_beside(source.path, source.member, self.column)
        labels = self._beside[1]
        if index >= len(labels):
            raise CatalogueError(
                f"{source.path}: {self.column!r} holds {len(labels)} labels, and there are more "
                "images"
            )
        return labels[index]


def _read_beside(path: str, member: str, name: str) -> list[str]:
    """Array ``name`` in the group of ``member`` of an HDF5 or npz file, as text."""
    folder = member.rpartition("/")[0]
    full = f"{folder}/{name}" if folder else name
    with _open_arrays(path) as arrays:
        if full not in arrays:
            raise _explain_absent(path, full, list(arrays))
        values = np.asarray(arrays[full][...])
    if values.ndim != 1:
        raise CatalogueError(f"{path}: {full!r} holds {values.ndim} axes, not one label per image")
    return [to_label(value) for value in values.tolist()]


def _open_arrays(path: str) -> Any:
    if path.lower().endswith(".npy"):
        raise CatalogueError(f"{path}: a npy file holds no labels; save both as npz or HDF5")
    if path.lower().endswith(".npz"):
        return np.load(path, allow_pickle=False)
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "hdf5", f"to read {path}") from error
    return h5py.File(path, "r")


def _explain_absent(path: str, name: str, there: Sequence[str]) -> CatalogueError:
    return CatalogueError(
        f"{path}: no {name!r} for --label-column; there are {', '.join(there) or 'none'}"
    )
