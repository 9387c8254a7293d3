"""Training images in memory: uint8, one size, with the class of each where its folder names one."""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from galmorph.errors import TrainingError

__all__ = ["TrainingSet", "load_training_set"]

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


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


def _iter_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None and member.name.lower().endswith(SUFFIXES):
                yield member.name, file.read()


def _iter_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in SUFFIXES:
            yield str(file.relative_to(path)), file.read_bytes()


def _iter_source(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        shards = sorted(path.glob("*.tar"))
        if not shards:
            yield from _iter_folder(path)
        for shard in shards:
            yield from _iter_tar(shard)
    elif path.suffix == ".tar":
        yield from _iter_tar(path)
    else:
        raise TrainingError(f"{path}: training data is a folder of images, or tar shards of them")


def _read_square(data: bytes, frame: float, size: int) -> npt.NDArray[np.uint8]:
    """Central ``frame`` of the image at ``size`` pixels, (3, size, size)."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    side = min(rgb.size) * frame
    x, y = (rgb.width - side) / 2, (rgb.height - side) / 2
    if rgb.size != (size, size) or frame != 1.0:
        rgb = rgb.resize(
            (size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side)
        )
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def load_training_set(
    sources: Sequence[str | Path], *, frame: float = 1.0, frame_size: int = 112
) -> TrainingSet:
    """Read every image of the sources into memory.

    Parameters
    ----------
    sources : sequence of path
        Folders of images, folders of tar shards, or tar shards. The folder in which an image
        lies names its class. Each source is a domain of its own.
    frame : float
        Central part of each image that is kept, as a fraction of its shorter side.
    frame_size : int
        Side in pixels to which it is brought.

    Raises
    ------
    TrainingError
        No image could be read.
    """
    images, names, labels, domains, skipped, all_classes = [], [], [], [], [], []
    for domain, source in enumerate(sources):
        classes: list[str] = []
        for name, data in _iter_source(Path(source)):
            try:
                images.append(_read_square(data, frame, frame_size))
            except (OSError, ValueError, SyntaxError) as error:
                skipped.append(f"{source}::{name}: {error}")
                logger.warning("skipped %s", skipped[-1])
                continue
            names.append(name)
            classes.append(Path(name).parent.name)
            domains.append(domain)
        found = tuple(sorted(set(classes) - {""}))
        all_classes.append(found)
        labels += [found.index(c) if c else -1 for c in classes]
    if not images:
        raise TrainingError(f"no image could be read from {', '.join(map(str, sources))}")
    return TrainingSet(
        np.stack(images),
        np.array(labels, dtype=np.int64),
        np.array(domains, dtype=np.int64),
        tuple(all_classes),
        tuple(names),
        tuple(skipped),
    )
