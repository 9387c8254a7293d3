"""``galmorph evaluate``: accuracy, calibration and more, each by a protocol with a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.labelled import Crops, Labels, WorkOptions, embed_set, embed_values, label_options
from galmorph.cli.options import (
    GroupedCommand,
    options_of,
    overwrite_option,
    prepare_output,
    prepare_picture,
)
from galmorph.errors import OptionError
from galmorph.settings import SOME, ClassifyOptions, File, Names, RunOptions, Texts, Whole, option

if TYPE_CHECKING:
    from galmorph.evaluation.classification import ClassMerge
    from galmorph.evaluation.report import ProtocolResult, ValueResult
    from galmorph.pipeline import Pipeline
    from galmorph.training.labelled import LabelledSet
    from galmorph.training.protocols import Protocols
    from galmorph.training.values import Wanted

NEEDED = {  # what each works on
    "head": "--head",
    "probe": "--train-data or --folds",
    "knn": "--train-data or --folds",
    "loo": "",
}
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(WorkOptions):
    """What is measured, and how.

    head: A fitted head to test on DATA: of the model, or a file of `galmorph fit`.
    train_labels: Labels of --train-data [default: LABELS].
    train_data: Training part: fit a linear probe and take nearest neighbours from it. Repeat for
        more.
    train_frame: As --data-frame, for --train-data.
    folds: Stratified K-fold cross-validation inside DATA, for small sets without a training part.
    select_crop: With --folds: the probe's fields of view to choose from, anew inside every fold.
    protocols: Only these of: head, probe, knn, loo [default: all that the options allow].
    neighbours: k of kNN.
    merge: Join classes, as in smooth=round+in_between+cigar. Repeat for more.
    checkpoint: checkpoint.pt of the model's training: leave-one-out kNN on the projection as well.
    output: Write everything as JSON.
    figure: Draw it (.png, .pdf, .svg); needs matplotlib.
    """

    head: str | None = option(None, metavar="NAME|FILE")
    train_labels: str | None = option(None, metavar="FILE|folders")
    train_data: Sequence[str] = option((), Texts(), metavar="PATH")
    train_frame: float = option(1.0, SOME)
    folds: int | None = option(None, Whole(2), metavar="K")
    select_crop: tuple[Any, ...] = option((), Crops())
    protocols: tuple[str, ...] | None = option(None, Names())
    neighbours: int = option(15, Whole())
    merge: Sequence[str] = option((), Texts(), metavar="NEW=OLD+OLD")
    checkpoint: str | None = option(None, File())
    output: str | None = option(None, File(), flag="-o --output")
    figure: str | None = option(None, File())

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_labels and not self.train_data:
            raise OptionError("--train-labels needs --train-data.")
        if self.select_crop and self.folds is None:
            raise OptionError("--select-crop needs --folds: nothing is chosen on test data.")
        apart = bool(self.train_data or self.folds)
        given = {"head": bool(self.head), "probe": apart, "knn": apart, "loo": True}
        for name in self.protocols or ():
            if name not in NEEDED:
                raise OptionError(f"No protocol {name!r}; there are {', '.join(NEEDED)}.")
            if not given[name]:
                raise OptionError(f"The protocol {name} needs {NEEDED[name]}.")
        _ = self.merged  # says what is wrong with it

    @cached_property
    def merged(self) -> ClassMerge:
        """Which classes become one."""
        from galmorph.evaluation.classification import parse_merges
        from galmorph.heads import make_class_name

        try:
            return parse_merges(self.merge, clean=make_class_name)
        except ValueError as error:
            raise OptionError(str(error)) from error

    def wants(self, protocol: str) -> bool:
        """Whether it is asked for, by name or by default."""
        return self.protocols is None or protocol in self.protocols

    def prepare(self, inputs: Sequence[str]) -> None:
        """What would fail at the end fails at the beginning."""
        from galmorph.evaluation.figure import import_figure
        from galmorph.evaluation.report import import_metrics

        import_metrics()
        if self.output:
            prepare_output(self.output, inputs=inputs)
        if self.figure:
            if not self.figure.endswith(FIGURE_SUFFIXES):
                raise OptionError(f"{self.figure!r} must end in {', '.join(FIGURE_SUFFIXES)}.")
            prepare_picture(self.figure, inputs=inputs)
            import_figure()

    def write(self, results: list[Any], meta: dict[str, Any]) -> None:
        """Report and figure, where they are asked for."""
        if self.output:
            from galmorph.evaluation.report import write_report

            write_report(self.output, results, meta=meta)
            click.echo(f"report: {self.output}")
        if self.figure:
            from galmorph.evaluation.figure import draw_report

            draw_report(self.figure, results)
            click.echo(f"figure: {self.figure}")


@click.command(cls=GroupedCommand)
@label_options
@options_of(EvaluateOptions)
@overwrite_option
def evaluate(**given: Any) -> None:
    """Measure accuracy and calibration on labelled cutouts.

    LABELS and DATA are as for `galmorph fit`. Without --head, --train-data or --folds only the
    protocol of Wei et al. 2022 is left, in which labels of the test set vote.

    Protocols: a fitted head on DATA; a linear probe and kNN from --train-data to DATA; both inside
    DATA by K-fold cross-validation; leave-one-out kNN inside DATA. Intervals are 95 % bootstrap
    intervals over the cutouts of DATA.

    With --votes or --numbers: the rms error of shares or numbers, by --head, from --train-data, or
    by --folds.
    """
    from galmorph.pipeline import open_pipeline

    asked, test = EvaluateOptions.take(given), Labels.take(given)
    if asked.select_crop and (given["crop"] is not None or given["fov"] is not None):
        raise OptionError("--select-crop chooses the field of view: leave out --crop, --fov.")
    train = None
    if asked.train_data:
        train = replace(
            test,
            labels=asked.train_labels or test.labels,
            data=asked.train_data,
            data_frame=asked.train_frame,
            path_column=None,
        )
    test.refuse(
        figure=asked.figure,
        merge=asked.merge,
        select_crop=asked.select_crop,
        checkpoint=asked.checkpoint,
        protocols={"knn", "loo"} & set(asked.protocols or ()),
    )
    asked.prepare((*test.list_inputs(), *(train.list_inputs() if train is not None else ())))
    kind = RunOptions if asked.head is None else ClassifyOptions
    pipeline = open_pipeline(kind.take({**given, "head": asked.head}))
    evaluation = _Evaluation(pipeline, test, train, asked)
    results: list[Any] = []
    complete = False
    try:
        for result in (
            evaluation.run() if test.wanted is None else evaluation.run_values(test.wanted)
        ):
            click.echo(result.summarize())
            results.append(result)
        complete = True
    finally:  # what was measured is kept also where a later protocol fails
        if results:
            asked.write(results, {**evaluation.describe(), "complete": complete})
    if not results:
        raise click.ClickException(
            "nothing was measured: give --head, --train-data, --folds, or fewer --neighbours"
        )


@dataclass(frozen=True)
class _Evaluation:
    """All protocols that the command line asks for."""

    pipeline: Pipeline
    test: Labels
    train: Labels | None
    asked: EvaluateOptions

    def describe(self) -> dict[str, Any]:
        """What stands in the report beside the results."""
        asked = self.asked
        return {
            **self.pipeline.describe(),
            "test": asdict(self.test),
            "train": None if self.train is None else asdict(self.train),
            "merge": {name: list(parts) for name, parts in asked.merged.parts.items()},
            "options": {
                **{name: getattr(asked, name) for name in ("folds", "neighbours", "seed")},
                "crops": list(asked.select_crop),
            },
        }

    def run(self) -> Iterator[ProtocolResult]:
        """One result after another."""
        from galmorph.heads import LinearHead
        from galmorph.training.export import load_projection
        from galmorph.training.protocols import Protocols

        asked, pipeline, projection = self.asked, self.pipeline, None
        if asked.checkpoint is not None:
            projection = load_projection(asked.checkpoint, model=pipeline.model)
        test, train = self._embed(self.test), None
        if self.train is not None and (asked.wants("probe") or asked.wants("knn")):
            train = self._embed(self.train)
            test.check_apart(train)
        protocols = Protocols(test, asked.merged, asked.neighbours, asked.seed, self._crop())
        self._check_merge((*test.class_names, *(train.class_names if train is not None else ())))
        largest_fold = None
        if asked.folds is not None and (asked.wants("probe") or asked.wants("knn")):
            largest_fold = protocols.find_largest_fold(asked.folds)  # too many fail here
        if isinstance(pipeline.head, LinearHead) and asked.wants("head"):
            yield protocols.test_head(pipeline.head)
        if train is not None:
            if asked.wants("probe"):
                yield protocols.linear_probe(train)
            if asked.wants("knn") and self._leaves_neighbours(train, "kNN"):
                yield protocols.knn(train)
        if largest_fold is not None:
            yield from self._by_folds(protocols, largest_fold)
        if asked.wants("loo") and self._leaves_neighbours(test, "leave-one-out kNN", without=1):
            yield protocols.leave_one_out_knn()
            if projection is not None:
                yield protocols.leave_one_out_knn(projection)

    def run_values(self, wanted: Wanted) -> Iterator[ValueResult]:
        """Votes or numbers: by a head, from the training part, or by folds."""
        from galmorph.training.values import cross_predict_values, measure_values, predict_values

        asked, how = self.asked, {"crop": self._crop(), "quiet": self.asked.quiet}
        head = self.pipeline.head if asked.wants("head") else None
        if head is not None:
            wanted.check(head)
        test, values = embed_values(self.pipeline, self.test, **how)
        told = {}
        if head is not None:
            told[f"head {head.name!r}"] = predict_values(head, test.embeddings)
        if self.train is not None and asked.wants("probe"):
            train, known = embed_values(self.pipeline, self.train, **how)
            test.check_apart(train)
            fitted = wanted.fit(train.embeddings, known, name="probe", seed=asked.seed)
            told["training part to test set"] = predict_values(fitted, test.embeddings)
        if asked.folds is not None and asked.wants("probe"):
            told[f"{asked.folds}-fold cross-validation"] = cross_predict_values(
                wanted, test.embeddings, values, folds=asked.folds, seed=asked.seed
            )
        for protocol, each in told.items():
            yield from measure_values(wanted, values, each, protocol=protocol, seed=asked.seed)

    def _embed(self, labels: Labels, crop: Any = None) -> LabelledSet:
        crop = self._crop() if crop is None else crop
        return embed_set(self.pipeline, labels, crop=crop, quiet=self.asked.quiet)

    def _check_merge(self, class_names: tuple[str, ...]) -> None:
        """Refuse to join classes that no set and no head has."""
        known = (*class_names, *getattr(self.pipeline.head, "class_names", ()))
        unknown = self.asked.merged.find_unknown(known)
        if unknown:
            raise OptionError(
                f"--merge: there is no class {', '.join(unknown)}; there are "
                f"{', '.join(dict.fromkeys(known))}."
            )

    def _leaves_neighbours(self, found: LabelledSet, what: str, *, without: int = 0) -> bool:
        """Whether a set is large enough without those of no vote; asked by name, it is."""
        count, neighbours = len(found.labels), self.asked.neighbours
        if self.asked.protocols is not None or count - without >= neighbours:
            return True
        click.echo(
            f"no {what}: {count} cutouts do not leave {neighbours} neighbours (--neighbours)",
            err=True,
        )
        return False

    def _by_folds(self, protocols: Protocols, largest_fold: int) -> Iterator[ProtocolResult]:
        folds = self.asked.folds
        assert folds is not None
        if self.asked.wants("probe"):
            fields = {
                str(crop): protocols.check_same(self._embed(self.test, crop))
                for crop in self.asked.select_crop
            }
            yield protocols.cross_validated_probe(folds, fields)
        what = f"kNN by {folds} folds"
        if self.asked.wants("knn") and self._leaves_neighbours(
            protocols.test, what, without=largest_fold
        ):
            yield protocols.cross_validated_knn(folds)

    def _crop(self) -> Any:
        """Field of view as a fraction: the one asked for, else the head's, else the model's."""
        return self.pipeline.field_of_view.crop
