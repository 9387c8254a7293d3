"""Training images in memory: uint8, one size, with the class of each where one is known."""

import logging
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Self

import numpy as np
import numpy.typing as npt

from galmorph.errors import CatalogueError, GalmorphError, TrainingError
from galmorph.flags import NO_LABEL
from galmorph.images.containers import SEARCHED_SUFFIXES, is_container, split_address
from galmorph.images.discover import discover_sources
from galmorph.images.files import IMAGE_SUFFIXES, ImageFile
from galmorph.images.read import read_cutout
from galmorph.images.source import Source, make_object_id
from galmorph.images.stacks import StackItem
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.quantities import Array
from galmorph.settings import ReadOptions, RenderOptions
from galmorph.tables.catalogue import read_catalogue
from galmorph.tables.columns import list_columns, pick_column
from galmorph.training.labelled import explain, to_label

logger = logging.getLogger(__name__)

CHUNK = 1024  # images allocated together: more than the 32 MiB that glibc may keep
PATH = "galmorph_path"  # a column that every row of a table has


def is_held_out(object_id: str, fraction: float) -> bool:
    """Whether the label of an image is kept from training, by its identifier alone."""
    return zlib.crc32(object_id.encode("utf-8", "surrogateescape")) < fraction * 2**32


@dataclass(frozen=True)
class TrainingSet:
    """Images of one or several sources; labels index the classes of theirs, -1 for none."""

    images: npt.NDArray[np.uint8]  # (n, 3, size, size), rendered
    labels: npt.NDArray[np.int64]
    domains: npt.NDArray[np.int64]  # which source an image is from
    class_names: tuple[tuple[str, ...], ...]  # of each source, sorted
    names: tuple[str, ...]  # paths inside the sources
    skipped: tuple[str, ...]  # files that could not be read, each with the reason
    object_ids: tuple[str, ...] = ()  # as classify shows them; made of the names if not given
    treatment: Mapping[str, str] = field(default_factory=dict)  # options of pixels, for the record

    def __post_init__(self) -> None:
        if not self.object_ids:
            object.__setattr__(self, "object_ids", tuple(map(make_object_id, self.names)))

    def __len__(self) -> int:
        return len(self.images)

    def hold_out(self, fraction: float) -> Self:
        """The same images, without the labels that `is_held_out` keeps from training."""
        held = [is_held_out(object_id, fraction) for object_id in self.object_ids]
        return replace(self, labels=np.where(held, -1, self.labels))

    def has_two_classes(self) -> bool:
        """Whether the labels of a source, of one at least, tell its images apart."""
        pairs = {(d, c) for d, c in zip(self.domains, self.labels, strict=True) if c >= 0}
        return len(pairs) > len({domain for domain, _ in pairs})


def _read_square(
    source: Source, square: Preprocessing, read: ReadOptions, rendering: RenderOptions
) -> Array:
    """Central part of a cutout, (3, size, size), through the same path as a user's."""
    prepared = square.prepare(read_cutout(source, options=read), rendering=rendering)
    if prepared.flags & NO_LABEL:
        raise ValueError("the frame is empty or has one value everywhere")
    pixels = prepared.pixels
    if pixels.dtype != np.uint8:
        pixels = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def load_training_set(
    sources: Sequence[str | Path],
    *,
    frame: float = 1.0,
    frame_size: int = 112,
    path_column: str | None = None,
    label_column: str | None = None,
    leave_out: str | Path | None = None,
    read: ReadOptions | None = None,
    rendering: RenderOptions | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainingSet:
    """Read the central ``frame`` of every image into memory, ``3 * frame_size**2`` bytes each."""
    square, found = Preprocessing(img_size=frame_size, crop=frame), _Found()
    read = replace(read or ReadOptions(), min_side=math.ceil(frame_size / frame))
    for domain, argument in enumerate(map(str, sources)):
        for source in list_cutouts(argument, path_column=path_column):
            if leave_out is not None and _is_same_file(source.address, leave_out):
                continue
            name = name_cutout(argument, source)
            try:
                image = _read_square(source, square, read, rendering or RenderOptions())
            except (GalmorphError, OSError, ValueError) as error:
                found.skipped.append(explain(source, str(error)))
                logger.info("skipped %s", found.skipped[-1])
            else:
                label = find_class(source, name, argument, label_column)
                found.add(image, (name, source.object_id, domain, label))
            if on_progress is not None:
                on_progress(len(found.rows), len(found.skipped))
    if not found.rows:
        raise TrainingError(
            f"no image could be read from {', '.join(map(str, sources))}"
            + (f"; {found.skipped[0]}" if found.skipped else "")
        )
    return found.close(len(sources))


@dataclass
class _Found:
    """A training set that grows."""

    chunks: list[Array] = field(default_factory=list)
    rows: list[tuple[str, str, int, str]] = field(default_factory=list)  # the last is the class
    skipped: list[str] = field(default_factory=list)

    def add(self, image: Array, row: tuple[str, str, int, str]) -> None:
        place = len(self.rows) % CHUNK
        if place == 0:
            self.chunks.append(np.empty((CHUNK, *image.shape), dtype=np.uint8))
        self.chunks[-1][place] = image
        self.rows.append(row)

    def close(self, count: int) -> TrainingSet:
        """All of it, from ``count`` sources."""
        names, object_ids, domains, classes = zip(*self.rows, strict=True)
        found: list[set[str]] = [set() for _ in range(count)]
        for domain, label in zip(domains, classes, strict=True):
            found[domain].update({label} - {""})
        class_names = tuple(tuple(sorted(each)) for each in found)
        places = [{c: i for i, c in enumerate(s)} if len(s) > 1 else {} for s in class_names]
        labels = [places[d].get(c, -1) for d, c in zip(domains, classes, strict=True)]
        arrays = (self._join(), np.array(labels, np.int64), np.array(domains, np.int64))
        return TrainingSet(*arrays, class_names, names, tuple(self.skipped), object_ids)

    def _join(self) -> Array:
        """All images in one array; each chunk is let go when it has been copied."""
        joined = np.empty((len(self.rows), *self.chunks[0].shape[1:]), dtype=np.uint8)
        for start in range(0, len(joined), CHUNK):
            joined[start : start + CHUNK] = self.chunks.pop(0)[: len(joined) - start]
        return joined


def _is_same_file(path: str, other: str | Path) -> bool:
    """By the name first, which asks no file system."""
    same_name = os.path.basename(path) == os.path.basename(other)
    return same_name and os.path.realpath(path) == os.path.realpath(other)


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
