"""Labelled cutouts: their classes from a table or from folders, and their embeddings."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from galmorph.errors import CatalogueError, TrainingError
from galmorph.heads import make_class_name
from galmorph.images.ahead import bring_ahead
from galmorph.images.containers import split_address
from galmorph.images.source import Source, make_printable, replace_columns
from galmorph.pipeline import Pipeline
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.quantities import Array
from galmorph.settings import FieldOptions
from galmorph.tables.cells import to_objects
from galmorph.tables.columns import probability_name

FOLDERS = "folders"  # in place of a table: the folder in which an image lies names its class
NO_LABEL_TEXTS = ("", "nan", "--")  # what tables have where there is no label
Labeller = Callable[[Source], str | None] | Mapping[str, str]  # of a source, or by object_id
Crop = float | Literal["auto"] | None


@dataclass(frozen=True)
class LabelledSet:
    """Embeddings of labelled cutouts, and what is known of those that are not among them."""

    embeddings: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    object_ids: tuple[str, ...]
    addresses: tuple[str, ...]
    failed: tuple[str, ...] = ()
    unlabelled: int = 0  # without a label, or with one of other classes
    repeated: int = 0
    other_classes: tuple[str, ...] = ()  # that were not asked for
    without_image: tuple[str, ...] = ()  # identifiers with a label that no cutout has

    def check_classes(self) -> None:
        """Refuse classes without any cutout."""
        there = {self.class_names[k] for k in np.unique(self.labels)}
        empty = [name for name in self.class_names if name not in there]
        if empty:
            raise TrainingError(
                f"no cutout has the label {', '.join(empty)}; there are "
                f"{', '.join(sorted(there.union(self.other_classes)))}: see --classes"
            )

    def check_apart(self, train: Self) -> None:
        """Refuse a training part that holds cutouts of this test set."""
        trained = set(train.addresses) - {""}
        both = [address for address in self.addresses if address in trained]
        if both:
            raise TrainingError(
                f"{len(both)} of {len(self.addresses)} test cutouts are in the training part as "
                f"well, {make_printable(both[0])} the first of them: what was learnt from is no "
                "test; keep the two apart"
            )


def label_by_folder(source: Source) -> str | None:
    """Label of a cutout by the folder it lies in, inside its tar shard or on disk."""
    path, member, _ = split_address(source.address)
    return PurePath(member or path).parent.name or None


def to_label(value: Any) -> str:
    """Cell of a table as text; "" where it holds none.

    >>> to_label(2.0), to_label(float("nan")), to_label(" spiral ")
    ('2', '', 'spiral')
    """
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = str(value).strip()
    return "" if text.lower() in NO_LABEL_TEXTS else text


def read_chunks(
    path: Any, columns: Sequence[str], *, id_column: str, way_out: str = ""
) -> Iterator[Any]:
    """Parts of a table that has these columns, the identifier among them."""
    from galmorph.tables.formats import open_reader

    reader = open_reader(path, exact={id_column})
    for name in columns:
        if name not in reader.specs:
            there = ", ".join(reader.specs)
            raise CatalogueError(f"{path}: no column {name!r}; there are {there}{way_out}")
    yield from reader.chunks()


def read_labels(
    path: str | Path, *, label_column: str = "label", id_column: str = "object_id"
) -> dict[str, str]:
    """Read classes by object_id from a table; rows without a label are left out."""
    names, way_out = (label_column, id_column), ": choose with --label-column and --id-column"
    labels: dict[str, str] = {}
    for chunk in read_chunks(path, names, id_column=id_column, way_out=way_out):
        for value, cell in zip(*(to_objects(chunk[n]) for n in names), strict=True):
            object_id, label = to_label(cell), to_label(value)
            if object_id and label and labels.setdefault(object_id, label) != label:
                raise CatalogueError(
                    f"{path}: {object_id!r} has two classes, {labels[object_id]!r} and {label!r}"
                )
    if not labels:
        raise CatalogueError(f"{path}: column {label_column!r} holds no label")
    return labels


def choose_field(
    crop: Crop, preprocessing: Preprocessing, *, data_frame: float = 1.0
) -> FieldOptions:
    """Field of view in images of the middle ``data_frame`` of the frames that ``crop`` is of."""
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
    pipeline: Pipeline,
    sources: Iterable[Source],
    label_of: Labeller,
    *,
    class_names: Sequence[str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> LabelledSet:
    """Embed the labelled cutouts among the sources, as ``galmorph classify`` would.

    ``label_of`` gives the class of a source, or classes by object_id; ``class_names`` are those to
    keep, in order.
    """
    picker = _Picker(label_of, class_names)
    embeddings, labels, object_ids, addresses, failed = [], [], [], [], []
    done = 0
    for block in pipeline.run(bring_ahead(picker.pick(sources), within=pipeline.read.within)):
        good: Array = np.isfinite(block.embeddings).all(axis=1)  # type: ignore[assignment]
        embeddings.append(block.embeddings[good])
        for row, usable in zip(block.rows, good, strict=True):
            if usable:
                object_ids.append(row.object_id)
                addresses.append(row.source.columns[_PLACE])
                labels.append(row.source.columns[_LABEL])
            else:
                failed.append(explain(row.source, row.message))
        done += len(block.rows)
        if on_progress is not None:
            on_progress(done)
    if not labels:
        raise TrainingError(picker.explain_nothing(failed))
    names = tuple(class_names) if class_names is not None else tuple(sorted(set(labels)))
    number = {name: k for k, name in enumerate(names)}
    return LabelledSet(
        np.concatenate(embeddings),
        np.array([number[label] for label in labels], dtype=np.int64),
        names,
        tuple(object_ids),
        tuple(addresses),
        tuple(failed),
        picker.unlabelled,
        picker.repeated,
        tuple(sorted(picker.other_classes)),
        picker.list_without_image(),
    )


def explain(source: Source, text: str) -> str:
    """What is wrong with a cutout, with the place where it lies."""
    location = make_printable(source.address)
    return text if location in text else f"{location}: {text}"


_LABEL = "galmorph_label"
_PLACE = "galmorph_place"


class _Picker:
    """Passes the labelled sources on, each with its class, and counts the others."""

    def __init__(self, label_of: Labeller, class_names: Sequence[str] | None) -> None:
        self.label_of = label_of
        self.kept = None if class_names is None else set(class_names)
        self.unlabelled = self.repeated = 0
        self.example = ""
        self.other_classes: set[str] = set()
        self._texts: dict[str, str] = {}
        self._classes: dict[str, str] = {}
        self._of_identifier: dict[str, Source] = {}
        self._find_real = lru_cache(maxsize=64)(_find_real)  # many cutouts lie in one shard

    def pick(self, sources: Iterable[Source]) -> Iterator[Source]:
        for source in sources:
            class_name = self._find_class(source)
            if class_name is None:
                self.unlabelled += 1
                self.example = self.example or source.object_id
                continue
            place = self._find_place(source)
            if self._is_repeated(source, place, class_name):
                self.repeated += 1
            else:
                yield replace_columns(source, {_LABEL: class_name, _PLACE: place})

    def _find_class(self, source: Source) -> str | None:
        """Its class, where it is one of those asked for."""
        find = self.label_of
        text = find(source) if callable(find) else find.get(source.object_id)
        if not text:
            return None
        if not callable(find):
            self._check_identifier(source)
        class_name = make_class_name(text)
        if self.kept is not None and class_name not in self.kept:
            self.other_classes.add(class_name)
            return None
        column = probability_name(class_name)
        if column == "p_":
            raise TrainingError(
                f"the label {text.strip()!r} holds none of the letters a to z and no digit, which "
                "columns of tables are named by; rename it"
            )
        other = self._texts.setdefault(column, text.strip())
        if other != text.strip():
            raise TrainingError(
                f"the labels {other!r} and {text.strip()!r} would be one class, because columns of "
                f"tables are named by the letters a to z, digits and underscores ({column}) and do "
                "not tell capitals from others; rename one of them"
            )
        return class_name

    def _check_identifier(self, source: Source) -> None:
        """Refuse a second image that would take the label of the first."""
        first = self._of_identifier.setdefault(source.object_id, source)
        if first is not source and self._find_place(first) != self._find_place(source):
            raise TrainingError(
                f"{make_printable(first.address)} and {make_printable(source.address)} are both "
                f"{source.object_id!r}, and the label is for one of them: leave one out, rename "
                "it, or name the files in the table (--path-column)"
            )

    def list_without_image(self) -> tuple[str, ...]:
        """Identifiers with a label that no source had."""
        if callable(self.label_of):
            return ()
        return tuple(name for name in self.label_of if name not in self._of_identifier)

    def _find_place(self, source: Source) -> str:
        """Where its pixels lie, however that is spelled; "" in memory."""
        from galmorph.images.mosaic import region_of

        if not source.address:
            return ""
        path, member, index = split_address(source.address)
        place = "::".join(filter(None, (self._find_real(path), member.lstrip("/"))))  # as in HDF5
        place = place if index is None else f"{place}[{index}]"
        region = region_of(source)
        return place if region is None else f"{place} {region}"

    def _is_repeated(self, source: Source, place: str, class_name: str) -> bool:
        if not place:
            return False
        before = self._classes.get(place)
        if before is None:
            self._classes[place] = class_name
        elif before != class_name:
            raise TrainingError(
                f"{make_printable(source.address)}: has two labels, {before!r} and "
                f"{class_name!r}; keep one"
            )
        return before is not None

    def explain_nothing(self, failed: Sequence[str]) -> str:
        if failed:
            return f"none of {len(failed)} labelled cutouts could be embedded; {failed[0]}"
        if not self.unlabelled:
            return "there is no cutout; give images, folders or tar shards"
        text = f"none of {self.unlabelled} cutouts has a label of those asked for"
        if self.other_classes:
            return f"{text}; there are {', '.join(sorted(self.other_classes))}: see --classes"
        text = f"{text}; the first is {self.example!r}"
        if callable(self.label_of):
            return f"{text}: its folder must be a class, or its row have one"
        return (
            f"{text}, and the first of the table {next(iter(self.label_of), '')!r}: an identifier "
            "is a file's name without its ending; a column of paths is named by --path-column"
        )


def _find_real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:  # a null byte in the name; the reader says so
        return path
