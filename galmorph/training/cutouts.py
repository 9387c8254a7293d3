"""Cutouts to train on: where they are, what each is called, and of which class it is."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from galmorph.errors import CatalogueError
from galmorph.images.containers import SEARCHED_SUFFIXES, is_container, split_address
from galmorph.images.discover import discover_sources
from galmorph.images.files import IMAGE_SUFFIXES, ImageFile
from galmorph.images.source import Source
from galmorph.images.stacks import StackItem
from galmorph.tables.catalogue import read_catalogue
from galmorph.tables.columns import list_columns, pick_column
from galmorph.training.labelled import to_label

PATH = "galmorph_path"  # a column that every row of a table has


def list_cutouts(argument: str, *, path_column: str | None = None) -> Iterator[Source]:
    """List the cutouts of one argument, a table by ``path_column``; tar shards come alone."""
    if path_column is not None and is_table(argument):
        rows = read_catalogue(argument, path_column=path_column)
        return (ImageFile.of(row.path, {PATH: row.path, **row.columns}) for row in rows)
    return discover_sources(_list_shards(Path(argument)) or [argument])


def _list_shards(folder: Path) -> list[Path]:
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


def find_class(source: Source, name: str, argument: str, column: str | None) -> str:
    """Class of a cutout: its folder, or what ``column`` names; "" where it has none."""
    if isinstance(source, StackItem) and source.index is None:  # a single image
        return ""
    if not source.columns and not isinstance(source, StackItem):
        return PurePath(name).parent.name
    if not column:
        return ""
    try:
        return to_label(pick_column(source.columns, column))
    except KeyError:
        there = [name for name in list_columns(source.columns) if name != PATH]
        said = f"{column!r} for --label-column; there are {', '.join(there) or 'none'}"
        raise CatalogueError(f"{argument}: no {said}") from None
