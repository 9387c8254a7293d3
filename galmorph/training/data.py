"""Training images in memory: uint8, one size, with the class of each where its folder names one."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphError, TrainingError
from galmorph.flags import NO_LABEL
from galmorph.images.discover import discover_sources
from galmorph.images.options import ReadOptions
from galmorph.images.read import read_cutout
from galmorph.images.source import Source, make_object_id
from galmorph.preprocessing.pipeline import Preprocessing

__all__ = ["TrainingSet", "is_held_out", "load_training_set"]

logger = logging.getLogger(__name__)


def is_held_out(object_id: str, fraction: float) -> bool:
    """Whether the label of an image is kept from training, by the name of the image alone.

    Parameters
    ----------
    object_id : str
        As in the column of that name.
    fraction : float
        Part of all names for which it is true.
    """
    return zlib.crc32(object_id.encode("utf-8", "surrogateescape")) < fraction * 2**32


@dataclass(frozen=True)
class TrainingSet:
    """Images of one or several sources.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, 3, size, size)
        Rendered cutouts.
    labels : ndarray of int, shape (n,)
        Index into ``class_names`` of the image's source; -1 where there is none.
    domains : ndarray of int, shape (n,)
        Which source the image is from.
    class_names : tuple of tuple of str
        Classes of each source, sorted.
    object_ids : tuple of str
        Member name or path of each image.
    skipped : tuple of str
        Files that could not be read, each with the reason.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    domains: npt.NDArray[np.int64]
    class_names: tuple[tuple[str, ...], ...]
    object_ids: tuple[str, ...]
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def hold_out(self, fraction: float) -> TrainingSet:
        """The same images, without the labels that `is_held_out` keeps from training."""
        held = [is_held_out(make_object_id(name), fraction) for name in self.object_ids]
        return replace(self, labels=np.where(held, -1, self.labels))


def _list_sources(path: str) -> Iterator[Source]:
    """Cutouts of one argument; a folder of tar shards stands for its shards alone."""
    shards = sorted(Path(path).glob("*.tar")) if Path(path).is_dir() else []
    return discover_sources(shards or [path])


def _name_in(argument: str, source: Source) -> str:
    """Name of a cutout inside the argument that it came from."""
    if source.member:
        name = source.member
    elif Path(argument).is_dir():
        name = str(PurePath(source.path).relative_to(argument))
    else:
        name = PurePath(source.path).name
    return f"{name}[{source.index}]" if source.index >= 0 else name


class _Reader:
    """Cutouts to squares of bytes, through the same path as a user's."""

    def __init__(self, frame: float, size: int) -> None:
        self.preprocessing = Preprocessing(img_size=size, crop=frame)
        self.read = ReadOptions(min_side=math.ceil(size / frame))

    def read_square(self, source: Source) -> npt.NDArray[np.uint8]:
        """Central part of a cutout, (3, size, size)."""
        prepared = self.preprocessing.prepare(read_cutout(source, options=self.read))
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
    on_progress: Callable[[int], None] | None = None,
) -> TrainingSet:
    """Read every image of the sources into memory.

    Parameters
    ----------
    sources : sequence of path
        Whatever `galmorph.images.discover.discover_sources` takes: folders, images, tar shards,
        stacks. A folder with tar shards in it stands for these alone, so that a test folder
        beside them is not trained on. The folder in which an image lies names its class; an
        image right in a source has none. Each source is a domain of its own.
    frame : float
        Central part of each image that is kept, as a fraction of its shorter side.
    frame_size : int
        Side in pixels to which it is brought.
    on_progress : callable, optional
        Called with the number of images read so far.

    Returns
    -------
    TrainingSet
        ``3 * frame_size**2`` bytes per image.

    Raises
    ------
    TrainingError
        No image could be read.
    ImageError
        A source names nothing.
    """
    reader = _Reader(frame, frame_size)
    images, names, labels, domains, skipped, all_classes = [], [], [], [], [], []
    for domain, argument in enumerate(map(str, sources)):
        classes: list[str] = []
        for source in _list_sources(argument):
            try:
                images.append(reader.read_square(source))
            except (GalmorphError, OSError, ValueError) as error:
                skipped.append(_explain(source, error))
                logger.info("skipped %s", skipped[-1])
                continue
            names.append(_name_in(argument, source))
            classes.append(PurePath(names[-1]).parent.name)
            domains.append(domain)
            if on_progress is not None:
                on_progress(len(images))
        found = tuple(sorted(set(classes) - {""}))
        all_classes.append(found)
        labels += [found.index(c) if c else -1 for c in classes]
    if not images:
        raise TrainingError(
            f"no image could be read from {', '.join(map(str, sources))}"
            + (f"; {skipped[0]}" if skipped else "")
        )
    return TrainingSet(
        np.stack(images),
        np.array(labels, dtype=np.int64),
        np.array(domains, dtype=np.int64),
        tuple(all_classes),
        tuple(names),
        tuple(skipped),
    )


def _explain(source: Source, error: Exception) -> str:
    text = str(error)
    return text if source.location in text else f"{source.location}: {text}"
