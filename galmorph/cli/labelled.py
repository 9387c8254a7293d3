"""What ``fit`` and ``evaluate`` share: labelled cutouts from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from galmorph.cli.options import SettingType, options_of
from galmorph.progress import show_progress
from galmorph.settings import Crop, EngineOptions, ModelOptions, PixelOptions, RunOptions

if TYPE_CHECKING:
    from galmorph.images.source import Source
    from galmorph.pipeline import Pipeline
    from galmorph.training.labelled import LabelledSet
    from galmorph.training.recut import Recut
    from galmorph.training.values import ValueTable, Wanted

__all__ = [
    "Labels",
    "embed_set",
    "embed_values",
    "label_options",
    "parse_crops",
    "parse_values",
    "split_classes",
    "split_list",
    "take_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])
MAX_LISTED = 5
"""Failed cutouts that are named; the others are counted."""


def parse_crops(select: str | None, crop: Any, fov: float | None) -> list[Any]:
    """Fields of view to try: those of --select-crop, or else the one of --crop."""
    if select is None:
        return [crop]
    if crop is not None or fov is not None:
        raise click.UsageError("--select-crop chooses the field of view: leave out --crop, --fov.")
    kind = SettingType(Crop())
    return [kind.convert(part, None, None) for part in split_list(select) or ()]


def split_list(text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; None where nothing was given."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise click.UsageError(f"{text!r} is not a list of names separated by commas.")
    return names


def split_classes(text: str | None) -> tuple[str, ...] | None:
    """Names of classes separated by commas, as heads write them; None where nothing was given."""
    from galmorph.heads import make_class_name

    names = split_list(text)
    if names is None:
        return None
    made = tuple(make_class_name(name) for name in names)
    twice = next((name for name in made if made.count(name) > 1), None)
    if twice is not None:
        raise click.UsageError(f"--classes names {twice} twice.")
    return made


def parse_values(votes: Sequence[str], numbers: str | None) -> Wanted | None:
    """What is to be told in place of classes; None for classes."""
    from galmorph.heads.questions import Question
    from galmorph.training.values import Wanted

    if votes and numbers:
        raise click.UsageError("Give --votes or --numbers: a head tells one or the other.")
    if not votes and numbers is None:
        return None
    pairs = [text.partition("=") for text in votes]
    bad = next(
        (text for text, (name, _, a) in zip(votes, pairs, strict=True) if not name or not a), ""
    )
    if bad:
        raise click.UsageError(f"--votes reads QUESTION=A,B,..., not {bad!r}.")
    try:
        questions = tuple(Question(name, split_list(answers) or ()) for name, _, answers in pairs)
    except ValueError as error:
        raise click.UsageError(f"--votes: {error}") from error
    return Wanted(questions, split_list(numbers) or ())


def embed_values(pipeline: Pipeline, labels: Labels, **options: Any) -> tuple[LabelledSet, Any]:
    """Embed cutouts with votes or numbers; the set, and its values (n, num_columns)."""
    from galmorph.training.values import take_rows

    found = embed_set(pipeline, labels, **options)
    return found, take_rows(found.class_names, found.labels, labels.values)


def check_of_classes(**asked: Any) -> None:
    """Refuse options that only classes have; what is not given is empty."""
    name = next((n for n, value in asked.items() if value), None)
    if name is not None:
        raise click.UsageError(
            f"--{name.replace('_', '-')} is for classes, not --votes, --numbers."
        )


def label_options(command: Command) -> Command:
    """Arguments and options that say which cutouts there are and of which class each is."""
    options = (
        click.argument("labels", type=click.Path(), metavar="LABELS"),
        click.argument("data", nargs=-1, type=click.Path(), metavar="[DATA]..."),
        click.option(
            "--label-column",
            default="label",
            show_default=True,
            metavar="NAME",
            help="Column of LABELS that holds the class.",
        ),
        click.option(
            "--id-column",
            default="object_id",
            show_default=True,
            metavar="NAME",
            help="Column of LABELS that holds the stem of the image's file name.",
        ),
        click.option(
            "--path-column",
            metavar="NAME",
            help="Column of LABELS that holds the path of the image, instead of DATA.",
        ),
        click.option(
            "--classes",
            metavar="A,B,...",
            help="Classes to keep, in this order [default: all, sorted].",
        ),
        click.option(
            "--votes",
            multiple=True,
            metavar="QUESTION=A,B,...",
            help="Instead of classes: the columns A, B, ... of LABELS count who gave these answers "
            "to a question. Repeat for more questions.",
        ),
        click.option(
            "--numbers",
            metavar="A,B,...",
            help="Instead of classes: columns of LABELS that hold numbers.",
        ),
        click.option(
            "--data-frame",
            type=click.FloatRange(0, 1, min_open=True),
            default=1.0,
            metavar="F",
            help="DATA show only the central part F of the original frames (0.528302 where they "
            "are the central 224 px of 424). A --crop is always a fraction of the original frame.",
        ),
        options_of(ModelOptions, "model"),
        options_of(PixelOptions),
        options_of(EngineOptions),
        click.option(
            "--seed",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="Of every random choice.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Labels:
    """Where labelled cutouts are, as the command line says it.

    Attributes
    ----------
    labels : str
        A table, or the word ``folders``.
    data : tuple of str
        Images, folders, shards; empty where the table has a column of paths.
    label_column, id_column, path_column : str
    class_names : tuple of str or None
    data_frame : float
        See `galmorph.training.labelled.choose_field`.
    wanted : Wanted or None
        Votes or numbers in place of classes.
    """

    labels: str
    data: tuple[str, ...]
    label_column: str = "label"
    id_column: str = "object_id"
    path_column: str | None = None
    class_names: tuple[str, ...] | None = None
    data_frame: float = 1.0
    wanted: Wanted | None = None

    def __post_init__(self) -> None:
        if self.wanted is not None and (self.path_column or self.class_names):
            raise click.UsageError("--votes and --numbers go by --id-column, and have no classes.")
        if self.wanted is not None and self.labels == "folders":
            raise click.UsageError("--votes and --numbers need a table as LABELS.")
        if bool(self.data) == bool(self.path_column):
            raise click.UsageError("Give DATA, or --path-column NAME of a table LABELS.")
        if self.path_column and self.labels == "folders":
            raise click.UsageError("--path-column needs a table as LABELS.")

    def list_inputs(self) -> tuple[str, ...]:
        """Files and folders as the command line names them."""
        return self.data if self.labels == "folders" else (self.labels, *self.data)

    def read(self) -> Any:
        """What says the class of a source: a function, or classes by object_id."""
        from galmorph.training.labelled import FOLDERS, label_by_folder, read_labels

        if self.wanted is not None:  # the row is the class
            return {name: str(row) for name, row in self.values.rows.items()}
        if self.labels == FOLDERS:
            return label_by_folder
        if self.path_column is not None:
            return _label_by_column
        return read_labels(self.labels, label_column=self.label_column, id_column=self.id_column)

    @cached_property
    def values(self) -> ValueTable:
        """Votes or numbers, by object_id."""
        from galmorph.training.values import read_values

        assert self.wanted is not None
        return read_values(self.labels, self.wanted, id_column=self.id_column)

    def list_sources(self) -> Iterator[Source]:
        """List the cutouts in order, lazily."""
        from galmorph.images.discover import discover_sources

        if self.path_column is None:
            return discover_sources(self.data)
        return self._list_rows()

    def _list_rows(self) -> Iterator[Source]:
        from galmorph.errors import CatalogueError
        from galmorph.images.files import ImageFile
        from galmorph.tables.catalogue import read_catalogue
        from galmorph.tables.columns import list_columns, pick_column

        for row in read_catalogue(self.labels, path_column=self.path_column):
            try:
                label = pick_column(row.columns, self.label_column)
            except KeyError:
                raise CatalogueError(
                    f"{self.labels}: no column {self.label_column!r}; there are "
                    f"{', '.join(list_columns(row.columns))}: choose with --label-column"
                ) from None
            yield ImageFile.of(row.path, {"label": label})


def _label_by_column(source: Source) -> str | None:
    from galmorph.training.labelled import to_label

    return to_label(source.columns["label"]) or None


def take_options(given: dict[str, Any]) -> RunOptions:
    """The settings of a run out of the options of a command, which keeps the others."""
    names = [each.name for each in fields(RunOptions) if each.name in given]
    return RunOptions(**{name: given.pop(name) for name in names})


def embed_set(
    pipeline: Pipeline,
    labels: Labels,
    *,
    crop: Any = None,
    quiet: bool = False,
    recut: Recut | None = None,
) -> LabelledSet:
    """Embed labelled cutouts, with progress, and name those that failed.

    Parameters
    ----------
    pipeline : Pipeline
        Its field of view is kept where it is in arcseconds.
    labels : Labels
    crop : float, "auto" or None
        Field of view, as a fraction of the original frame.
    quiet : bool
        No progress.
    recut : Recut, optional
        Smaller frames made of some of them instead.
    """
    from galmorph.training.labelled import choose_field, embed_labelled
    from galmorph.training.recut import recut_sources

    if pipeline.field.fov is None:
        seen = choose_field(crop, pipeline.model.preprocessing, data_frame=labels.data_frame)
        pipeline = replace(pipeline, field=seen, head=None)
    change = None if recut is None else partial(recut_sources, recut=recut, options=pipeline.read)
    label_of = labels.read()
    shown = not quiet and recut is None
    with show_progress(shown, items=labels.list_sources() if shown else ()) as report:
        found = embed_labelled(
            pipeline,
            labels.list_sources(),
            label_of,
            class_names=labels.class_names,
            change=change,
            on_progress=report,
        )
    _name_failures(found.failed)
    if recut is None and found.without_image:
        click.echo(
            f"{len(found.without_image)} labels of {labels.labels} have no image; the first is "
            f"that of {found.without_image[0]!r}",
            err=True,
        )
    if recut is None:
        found.check_classes()
    return found


def _name_failures(failed: Sequence[str]) -> None:
    for line in failed[:MAX_LISTED]:
        click.echo(f"left out: {line}", err=True)
    if len(failed) > MAX_LISTED:
        click.echo(f"left out: {len(failed) - MAX_LISTED} more", err=True)
