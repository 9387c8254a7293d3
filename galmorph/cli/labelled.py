"""What ``fit`` and ``evaluate`` share: labelled cutouts from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

from galmorph.cli.options import options_of
from galmorph.errors import OptionError
from galmorph.progress import show_progress
from galmorph.settings import (
    SOME,
    Crop,
    EngineOptions,
    ModelOptions,
    Names,
    PixelOptions,
    Settings,
    Texts,
    Whole,
    option,
)

if TYPE_CHECKING:
    from galmorph.images.source import Source
    from galmorph.pipeline import Pipeline
    from galmorph.training.labelled import LabelledSet
    from galmorph.training.values import Wanted

Command = TypeVar("Command", bound=Callable[..., Any])
MAX_LISTED = 5  # failed cutouts that are named; the others are counted


class Classes(Names):
    """Names of classes, as heads write them."""

    def read(self, text: str) -> tuple[str, ...]:
        """The names, each once."""
        from galmorph.heads import make_class_name

        made = tuple(map(make_class_name, super().read(text)))
        twice = next((name for name in made if made.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"names {twice} twice")
        return made


class Crops(Names):
    """Fields of view to choose from."""

    metavar = "F,F,..."

    def read(self, text: str) -> tuple[Any, ...]:
        """Each a part of the frame, or auto."""
        kind = Crop()
        return tuple(kind.check(kind.read(part)) for part in super().read(text))


@dataclass(frozen=True, kw_only=True)
class Labels(Settings):
    """Which cutouts there are, and of which class each is; or what else is known of it.

    label_column: Column of LABELS that holds the class.
    id_column: Column of LABELS that holds the stem of the image's file name.
    path_column: Column of LABELS that holds the path of the image, instead of DATA.
    classes: Classes to keep, in this order [default: all, sorted].
    votes: Instead of classes: the columns A, B, ... of LABELS count who gave these answers to a
        question. Repeat for more questions.
    numbers: Instead of classes: columns of LABELS that hold numbers.
    data_frame: DATA show only the central part F of the original frames (0.528302 where they are
        the central 224 px of 424). A --crop is always a fraction of the original frame.
    """

    group = "Options"
    labels: str = option("", listed=False)
    data: Sequence[str] = option((), Texts(), listed=False)
    label_column: str = option("label")
    id_column: str = option("object_id")
    path_column: str | None = option(None)
    classes: tuple[str, ...] | None = option(None, Classes())
    votes: Sequence[str] = option((), Texts(), metavar="QUESTION=A,B,...")
    numbers: tuple[str, ...] | None = option(None, Names())
    data_frame: float = option(1.0, SOME)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wanted is not None and (self.path_column or self.classes):
            raise OptionError("--votes and --numbers go by --id-column, and have no classes.")
        if self.wanted is not None and self.labels == "folders":
            raise OptionError("--votes and --numbers need a table as LABELS.")
        if bool(self.data) == bool(self.path_column):
            raise OptionError("Give DATA, or --path-column NAME of a table LABELS.")
        if self.path_column and self.labels == "folders":
            raise OptionError("--path-column needs a table as LABELS.")

    @cached_property
    def wanted(self) -> Wanted | None:
        """What is to be told in place of classes; None for classes."""
        from galmorph.heads.votes import Question
        from galmorph.training.values import Wanted

        if self.votes and self.numbers:
            raise OptionError("Give --votes or --numbers: a head tells one or the other.")
        if not self.votes and not self.numbers:
            return None
        questions = []
        for name, equals, answers in (text.partition("=") for text in self.votes):
            if not equals or not answers:
                raise OptionError(f"--votes reads QUESTION=A,B,..., not {name + equals!r}.")
            try:
                questions.append(Question(name, Names().read(answers)))
            except ValueError as error:
                raise OptionError(f"--votes: {error}") from error
        return Wanted(tuple(questions), self.numbers or ())

    def refuse(self, **asked: Any) -> None:
        """Refuse options that only classes have; what is not given is empty."""
        name = next((n for n, value in asked.items() if value), None)
        if self.wanted is not None and name is not None:
            raise OptionError(f"--{name.replace('_', '-')} is for classes, not --votes, --numbers.")

    def list_inputs(self) -> Sequence[str]:
        """Files and folders as the command line names them."""
        return self.data if self.labels == "folders" else (self.labels, *self.data)

    def read(self) -> Any:
        """What says the class of a source: a function, or classes by object_id."""
        from galmorph.training.data import find_class
        from galmorph.training.labelled import FOLDERS, label_by_folder, read_labels

        if self.wanted is not None:  # the row is the class
            return {name: str(row) for row, name in enumerate(self.values)}
        if self.labels == FOLDERS:
            return label_by_folder
        if self.path_column is not None:
            return lambda source: find_class(source, "", self.labels, self.label_column)
        return read_labels(self.labels, label_column=self.label_column, id_column=self.id_column)

    @cached_property
    def values(self) -> dict[str, list[float]]:
        """Votes or numbers, by object_id."""
        from galmorph.training.values import read_values

        assert self.wanted is not None
        return read_values(self.labels, self.wanted, id_column=self.id_column)

    def list_sources(self) -> Iterator[Source]:
        """List the cutouts in order, lazily."""
        from galmorph.images.discover import discover_sources
        from galmorph.training.data import list_cutouts

        if self.path_column is None:
            return discover_sources(self.data)
        return list_cutouts(self.labels, path_column=self.path_column)


@dataclass(frozen=True, kw_only=True)
class WorkOptions(Settings):
    """Base of the options of a command.

    seed: Of every random choice.
    quiet: No progress.
    """

    group = "Options"
    seed: int = option(0, Whole(0))
    quiet: bool = option(False, flag="-q --quiet")


def label_options(command: Command) -> Command:
    """Arguments and options that say which cutouts there are and of which class each is."""
    decorators = (
        click.argument("labels", type=click.Path(), metavar="LABELS"),
        click.argument("data", nargs=-1, type=click.Path(), metavar="[DATA]..."),
        options_of(Labels),
        options_of(ModelOptions, "model"),
        options_of(PixelOptions),
        options_of(EngineOptions),
    )
    return reduce(lambda made, add: add(made), reversed(decorators), command)


def embed_set(
    pipeline: Pipeline, labels: Labels, *, crop: Any = None, quiet: bool = False
) -> LabelledSet:
    """Embed labelled cutouts, with progress; ``crop`` is of the original frame, or "auto"."""
    from galmorph.training.labelled import choose_field, embed_labelled

    if pipeline.field.fov is None:
        seen = choose_field(crop, pipeline.model.preprocessing, data_frame=labels.data_frame)
        pipeline = replace(pipeline, field=seen, head=None)
    label_of = labels.read()
    with show_progress(not quiet, items=() if quiet else labels.list_sources()) as report:
        found = embed_labelled(
            pipeline,
            labels.list_sources(),
            label_of,
            class_names=labels.classes,
            on_progress=report,
        )
    for line in found.failed[:MAX_LISTED]:
        click.echo(f"left out: {line}", err=True)
    if len(found.failed) > MAX_LISTED:
        click.echo(f"left out: {len(found.failed) - MAX_LISTED} more", err=True)
    if found.without_image:
        click.echo(
            f"{len(found.without_image)} labels of {labels.labels} have no image; the first is "
            f"that of {found.without_image[0]!r}",
            err=True,
        )
    found.check_classes()
    return found


def embed_values(pipeline: Pipeline, labels: Labels, **how: Any) -> tuple[LabelledSet, Any]:
    """Embed cutouts with votes or numbers; the set, and its values (n, num_columns)."""
    import numpy as np

    found = embed_set(pipeline, labels, **how)
    return found, np.array([labels.values[name] for name in found.object_ids])
