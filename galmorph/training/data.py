"""Training images in memory: uint8, one size, with the class of each where one is known."""

import logging
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphError, TrainingError
from galmorph.flags import NO_LABEL
from galmorph.images.read import read_cutout
from galmorph.images.source import Source, make_object_id
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.quantities import Array
from galmorph.settings import ReadOptions, RenderOptions
from galmorph.training.cutouts import find_class, list_cutouts, name_cutout
from galmorph.training.labelled import explain

logger = logging.getLogger(__name__)

CHUNK = 1024  # images allocated together: more than the 32 MiB that glibc may keep


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
