"""Labelled cutouts: their classes from a table or from folders, and their embeddings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from galmorph._api import Job
from galmorph.errors import CatalogueError, TrainingError
from galmorph.images.source import Source
from galmorph.preprocessing.pipeline import FieldOptions, Preprocessing

__all__ = [
    "FOLDERS",
    "LabelledSet",
    "choose_field",
    "embed_labelled",
    "join_sets",
    "label_by_folder",
    "make_class_name",
    "read_labels",
]

FOLDERS = "folders"
"""In place of a table: the folder in which an image lies names its class."""

Labeller = Callable[[Source], str | None]
Crop = float | Literal["auto"] | None


@dataclass(frozen=True)
class LabelledSet:
    """Embeddings of labelled cutouts.

    Attributes
    ----------
    embeddings : ndarray of float32, shape (n, num_features)
    labels : ndarray of int, shape (n,)
        Index into ``class_names``.
    class_names : tuple of str
    object_ids : tuple of str
    failed : tuple of str
        Labelled cutouts that could not be embedded, each with the reason; left out above.
    unlabelled : int
        Cutouts passed over, because they have no label or one that was not asked for.
    """

    embeddings: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    object_ids: tuple[str, ...]
    failed: tuple[str, ...] = ()
    unlabelled: int = 0


def make_class_name(text: str) -> str:
    """Letters, digits and underscores, as heads and column names need them.

    Examples
    --------
    >>> make_class_name(" edge-on disk")
    'edge_on_disk'
    """
    return re.sub(r"\W+", "_", text.strip())


def label_by_folder(source: Source) -> str | None:
    """Class of a cutout by the folder it lies in, inside its tar shard or on disk."""
    return make_class_name(PurePath(source.member or source.path).parent.name) or None


def read_labels(
    path: str | Path, *, label_column: str = "label", id_column: str = "object_id"
) -> dict[str, str]:
    """Read classes by object_id from a table.

    Parameters
    ----------
    path : path
        CSV, ECSV, FITS, VOTable or Parquet.
    label_column, id_column : str
        Columns of classes and of identifiers (the stem of the file name, or what
        ``galmorph classify`` shows as object_id).

    Returns
    -------
    dict of str to str
        Rows without a label are left out.

    Raises
    ------
    CatalogueError
        The table cannot be read, lacks a column, gives one object two classes, or has no label.
    """
    from galmorph.tables.readers import open_reader

    reader = open_reader(Path(path))
    for name in (label_column, id_column):
        if name not in reader.specs:
            raise CatalogueError(
                f"{path}: no column {name!r}; there are {', '.join(reader.specs)}: choose with "
                "--label-column and --id-column"
            )
    labels: dict[str, str] = {}
    for chunk in reader.chunks():
        pairs = zip(_to_texts(chunk[id_column]), _to_texts(chunk[label_column]), strict=True)
        for object_id, label in pairs:
            if label and labels.setdefault(object_id, label) != label:
                raise CatalogueError(
                    f"{path}: {object_id!r} has two classes, {labels[object_id]!r} and {label!r}"
                )
    if not labels:
        raise CatalogueError(f"{path}: column {label_column!r} holds no label")
    return labels


def _to_texts(values: Any) -> list[str]:
    """Cells as text; "" where masked or empty. Whole numbers lose no digit."""
    listed = values if isinstance(values, list) else values.tolist()
    return ["" if v is None or v != v else str(v).strip() for v in listed]


def choose_field(
    crop: Crop, preprocessing: Preprocessing, *, data_frame: float = 1.0
) -> FieldOptions:
    """Field of view in images that show only the middle of the original frames.

    Parameters
    ----------
    crop : float, "auto" or None
        Of the original frame; None for what the weights expect.
    preprocessing : Preprocessing
        Of the model.
    data_frame : float
        Side of the images as a fraction of the original frame's: 224 / 424 where they are the
        central 224 px of 424.

    Returns
    -------
    FieldOptions
        For these images.

    Raises
    ------
    TrainingError
        The images do not show all of the field of view.
    """
    if crop == "auto" or (crop is None and data_frame == 1.0):
        return FieldOptions(crop=crop)
    of_images = (crop if crop is not None else preprocessing.crop) / data_frame
    if data_frame != 1.0 and of_images > 1 + 1e-6:
        raise TrainingError(
            f"images that show {data_frame:.4g} of the frame do not hold a field of view of "
            f"{of_images * data_frame:.4g} of it; use a smaller crop, or the original images"
        )
    return FieldOptions(crop=min(of_images, 1.0) if data_frame != 1.0 else of_images)


def embed_labelled(
    job: Job,
    sources: Iterable[Source],
    label_of: Labeller | Mapping[str, str],
    *,
    class_names: Sequence[str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> LabelledSet:
    """Embed the labelled cutouts among the sources.

    Parameters
    ----------
    job : Job
        Model and settings, as ``galmorph classify`` would use them.
    sources : iterable of Source
    label_of : callable or mapping
        Class of a source, or classes by object_id; None or absent for no class.
    class_names : sequence of str, optional
        Classes to keep, in order; by default all that occur, sorted.
    on_progress : callable, optional
        Called with the number of cutouts embedded so far.

    Returns
    -------
    LabelledSet

    Raises
    ------
    TrainingError
        No cutout has a label, or none with a label could be embedded.
    """
    picker = _Picker(label_of, class_names)
    embeddings, labels, object_ids, failed = [], [], [], []
    done = 0
    for block in job.run(picker.pick(sources)):
        good: npt.NDArray[np.bool_] = np.isfinite(block.embeddings).all(axis=1)  # type: ignore[assignment]
        embeddings.append(block.embeddings[good])
        for row, usable in zip(block.rows, good, strict=True):
            if usable:
                object_ids.append(row.object_id)
                labels.append(row.source.columns[_LABEL])
            else:
                failed.append(f"{row.source.location}: {row.message}")
        done += len(block.rows)
        if on_progress is not None:
            on_progress(done)
    if not labels:
        raise TrainingError(picker.explain_nothing(failed))
    names = tuple(class_names) if class_names is not None else tuple(sorted(set(labels)))
    return LabelledSet(
        np.concatenate(embeddings),
        np.array([names.index(label) for label in labels], dtype=np.int64),
        names,
        tuple(object_ids),
        tuple(failed),
        picker.unlabelled,
    )


def join_sets(one: LabelledSet, other: LabelledSet) -> LabelledSet:
    """Rows of two sets with the same classes, one after the other."""
    if one.class_names != other.class_names:
        raise TrainingError(f"classes differ: {one.class_names} and {other.class_names}")
    return replace(
        one,
        embeddings=np.concatenate([one.embeddings, other.embeddings]),
        labels=np.concatenate([one.labels, other.labels]),
        object_ids=one.object_ids + other.object_ids,
        failed=one.failed + other.failed,
    )


_LABEL = "galmorph_label"


class _Picker:
    """Passes the labelled sources on, each with its class, and counts the others."""

    def __init__(
        self, label_of: Labeller | Mapping[str, str], class_names: Sequence[str] | None
    ) -> None:
        self.label_of = label_of
        self.kept = None if class_names is None else set(class_names)
        self.unlabelled = 0
        self.example = ""

    def pick(self, sources: Iterable[Source]) -> Iterator[Source]:
        for source in sources:
            label = self._label(source)
            if label is None or (self.kept is not None and label not in self.kept):
                self.unlabelled += 1
                self.example = self.example or source.object_id
                continue
            yield replace(source, columns={_LABEL: label})

    def _label(self, source: Source) -> str | None:
        if callable(self.label_of):
            return self.label_of(source)
        label = self.label_of.get(source.object_id)
        return None if label is None else make_class_name(label)

    def explain_nothing(self, failed: Sequence[str]) -> str:
        if failed:
            return f"none of {len(failed)} labelled cutouts could be embedded; {failed[0]}"
        if self.unlabelled:
            return (
                f"none of {self.unlabelled} cutouts has a label of those asked for; the first is "
                f"{self.example!r}: its identifier must be in the table, or its folder a class"
            )
        return "there is no cutout; give images, folders or tar shards"
