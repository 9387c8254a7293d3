"""``galmorph evaluate``: accuracy, calibration and more, each by a protocol with a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.labelled import (
    Labels,
    check_of_classes,
    embed_set,
    embed_values,
    label_options,
    parse_crops,
    parse_values,
    split_classes,
    split_list,
    take_options,
)
from galmorph.cli.options import GroupedCommand
from galmorph.cli.outputs import overwrite_option, prepare_output, prepare_picture

if TYPE_CHECKING:
    from galmorph.encoders.fused import ProjectionHead
    from galmorph.evaluation.merging import ClassMerge
    from galmorph.evaluation.report import ProtocolResult
    from galmorph.evaluation.values import ValueResult
    from galmorph.pipeline import Pipeline
    from galmorph.training.labelled import LabelledSet
    from galmorph.training.protocols import Protocols
    from galmorph.training.values import Wanted

__all__ = ["evaluate"]

PROTOCOLS = ("head", "probe", "knn", "loo")
"""A fitted head; linear probe; kNN; leave-one-out kNN inside the test set."""

NEEDED = {"head": "--head", "probe": "--train-data or --folds", "knn": "--train-data or --folds"}
"""Options without which a protocol has nothing to work on."""

FIGURE_SUFFIXES = (".png", ".pdf", ".svg")


@click.command(cls=GroupedCommand)
@label_options
@click.option(
    "--head",
    metavar="NAME|FILE",
    help="A fitted head to test on DATA: of the model, or a file of `galmorph fit`.",
)
@click.option(
    "--train-labels",
    metavar="FILE|folders",
    help="Labels of --train-data [default: LABELS].",
)
@click.option(
    "--train-data",
    multiple=True,
    metavar="PATH",
    help="Training part: fit a linear probe and take nearest neighbours from it. Repeat for more.",
)
@click.option(
    "--train-frame",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    metavar="F",
    help="As --data-frame, for --train-data.",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    metavar="K",
    help="Stratified K-fold cross-validation inside DATA, for small sets without a training part.",
)
@click.option(
    "--select-crop",
    metavar="F,F,...",
    help="With --folds: the probe's fields of view to choose from, anew inside every fold.",
)
@click.option(
    "--protocols",
    metavar="A,B,...",
    help=f"Only these of: {', '.join(PROTOCOLS)} [default: all that the options allow].",
)
@click.option(
    "--neighbours", type=click.IntRange(1), default=15, show_default=True, help="k of kNN."
)
@click.option(
    "--merge",
    multiple=True,
    metavar="NEW=OLD+OLD",
    help="Join classes, as in smooth=round+in_between+cigar. Repeat for more.",
)
@click.option(
    "--checkpoint",
    metavar="FILE",
    help="checkpoint.pt of the model's training: leave-one-out kNN on the projection as well.",
)
@click.option("-o", "--output", metavar="FILE", help="Write everything as JSON.")
@overwrite_option
@click.option("--figure", metavar="FILE", help="Draw it (.png, .pdf, .svg); needs matplotlib.")
def evaluate(
    labels: str,
    data: tuple[str, ...],
    head: str | None,
    train_labels: str | None,
    train_data: tuple[str, ...],
    train_frame: float,
    output: str | None,
    figure: str | None,
    **given: Any,
) -> None:
    """Measure accuracy and calibration on labelled cutouts.

    LABELS and DATA are as for `galmorph fit`. Without --head, --train-data or --folds only the
    protocol of Wei et al. 2022 is left, in which labels of the test set vote.

    Protocols: a fitted head on DATA; a linear probe and kNN from --train-data to DATA; both inside
    DATA by K-fold cross-validation; leave-one-out kNN inside DATA. Intervals are 95 % bootstrap
    intervals over the cutouts of DATA.

    With --votes or --numbers: the rms error of shares or numbers, by --head, from --train-data, or
    by --folds.
    """
    from galmorph.evaluation.merging import parse_merges
    from galmorph.heads import make_class_name

    columns = (given.pop("label_column"), given.pop("id_column"), given.pop("path_column"))
    classes, frame = split_classes(given.pop("classes")), given.pop("data_frame")
    wanted = parse_values(given.pop("votes"), given.pop("numbers"))
    test = Labels(labels, data, *columns, classes, frame, wanted)
    train = None
    if train_data:
        train = Labels(
            train_labels or labels, train_data, *columns[:2], None, classes, train_frame, wanted
        )
    elif train_labels:
        raise click.UsageError("--train-labels needs --train-data.")
    try:
        merge = parse_merges(given.pop("merge"), clean=make_class_name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    names = ("folds", "neighbours", "checkpoint", "seed", "quiet")
    options = {name: given.pop(name) for name in names}
    possible = {"head": head, "probe": train or options["folds"], "loo": True}
    possible["knn"] = possible["probe"]
    options["asked"] = _choose_protocols(given.pop("protocols"), possible)
    select_crop = given.pop("select_crop")
    if select_crop is not None and options["folds"] is None:
        raise click.UsageError("--select-crop needs --folds: nothing is chosen on test data.")
    options["crops"] = parse_crops(select_crop, given["crop"], given["fov"]) if select_crop else []
    inputs = (*test.list_inputs(), *(train.list_inputs() if train is not None else ()))
    if wanted is not None:
        check_of_classes(
            figure=figure,
            merge=merge.parts,
            select_crop=select_crop,
            checkpoint=options["checkpoint"],
            protocols={"knn", "loo"} & set(options["asked"] or ()),
        )
    _check_outputs(output, figure, inputs)
    pipeline = _make_pipeline(given, head)
    evaluation = _Evaluation(pipeline, test, train, merge, **options)
    results: list[Any] = []
    complete = False
    try:
        for result in evaluation.run() if wanted is None else evaluation.run_values(wanted):
            click.echo(result.summarize())
            results.append(result)
        complete = True
    finally:  # what was measured is kept also where a later protocol fails
        if results:
            meta = {**_describe(pipeline, test, train, merge, options), "complete": complete}
            _write(output, figure, results, meta)
    if not results:
        raise click.ClickException(
            "nothing was measured: give --head, --train-data, --folds, or fewer --neighbours"
        )


def _write(
    output: str | None, figure: str | None, results: list[Any], meta: dict[str, Any]
) -> None:
    if output:
        from galmorph.evaluation.report import write_report

        write_report(output, results, meta=meta)
        click.echo(f"report: {output}")
    if figure:
        from galmorph.evaluation.figure import draw_report

        draw_report(figure, results)
        click.echo(f"figure: {figure}")


def _choose_protocols(text: str | None, possible: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Those asked for by name; None for all that the options allow."""
    chosen = split_list(text)
    for name in chosen or ():
        if name not in PROTOCOLS:
            raise click.UsageError(f"No protocol {name!r}; there are {', '.join(PROTOCOLS)}.")
        if not possible[name]:
            raise click.UsageError(f"The protocol {name} needs {NEEDED[name]}.")
    return chosen


def _check_outputs(output: str | None, figure: str | None, inputs: Sequence[str]) -> None:
    """What would fail at the end fails at the beginning."""
    from galmorph.evaluation.figure import import_figure
    from galmorph.evaluation.report import import_metrics

    import_metrics()
    if output:
        prepare_output(output, inputs=inputs)
    if figure:
        if not figure.endswith(FIGURE_SUFFIXES):
            raise click.UsageError(f"{figure!r} must end in {', '.join(FIGURE_SUFFIXES)}.")
        prepare_picture(figure, inputs=inputs)
        import_figure()


def _make_pipeline(given: dict[str, Any], head: str | None) -> Pipeline:
    from dataclasses import replace

    from galmorph.pipeline import find_head, open_pipeline

    pipeline = open_pipeline(take_options(given))
    return pipeline if head is None else replace(pipeline, head=find_head(pipeline.model, head))


def _describe(
    pipeline: Pipeline,
    test: Labels,
    train: Labels | None,
    merge: ClassMerge,
    options: dict[str, Any],
) -> dict[str, Any]:
    from dataclasses import asdict

    kept = {name: options[name] for name in ("folds", "neighbours", "seed", "crops")}
    return {
        **pipeline.describe(),
        "test": asdict(test),
        "train": None if train is None else asdict(train),
        "merge": {k: list(v) for k, v in merge.parts.items()},
        "options": kept,
    }


@dataclass(frozen=True)
class _Evaluation:
    """All protocols that the command line asks for."""

    pipeline: Pipeline
    test: Labels
    train: Labels | None
    merge: ClassMerge
    folds: int | None
    neighbours: int
    checkpoint: str | None
    seed: int
    quiet: bool
    asked: tuple[str, ...] | None
    crops: list[Any]

    def wants(self, protocol: str) -> bool:
        """Whether it is asked for, by name or by default."""
        return self.asked is None or protocol in self.asked

    def run(self) -> Iterator[ProtocolResult]:
        """One result after another."""
        from galmorph.heads import LinearHead
        from galmorph.training.protocols import Protocols

        projection = self._load_projection()
        test = embed_set(self.pipeline, self.test, crop=self._crop(), quiet=self.quiet)
        train = self._embed_train()
        if train is not None:
            test.check_apart(train)
        protocols = Protocols(test, self.merge, self.neighbours, self.seed, self._crop())
        self._check_merge((*test.class_names, *(train.class_names if train is not None else ())))
        largest_fold = self._deal_folds(protocols)
        if isinstance(self.pipeline.head, LinearHead) and self.wants("head"):
            yield protocols.test_head(self.pipeline.head)
        if train is not None:
            yield from self._from_train(protocols, train)
        if largest_fold is not None:
            yield from self._by_folds(protocols, largest_fold)
        if self.wants("loo") and self._leaves_neighbours(test, "leave-one-out kNN", without=1):
            yield protocols.leave_one_out_knn()
            if projection is not None:
                yield protocols.leave_one_out_knn_on_projection(projection)

    def run_values(self, wanted: Wanted) -> Iterator[ValueResult]:
        """Votes or numbers: by a head, from the training part, or by folds."""
        from galmorph.training.values import cross_predict_values, measure_values, predict_values

        how = {"crop": self._crop(), "quiet": self.quiet}
        head = self.pipeline.head if self.wants("head") else None
        if head is not None:
            wanted.check(head)
        test, values = embed_values(self.pipeline, self.test, **how)
        told = {}
        if head is not None:
            told[f"head {head.name!r}"] = predict_values(head, test.embeddings)
        if self.train is not None and self.wants("probe"):
            train, known = embed_values(self.pipeline, self.train, **how)
            test.check_apart(train)
            fitted = wanted.fit(train.embeddings, known, name="probe", seed=self.seed)
            told["training part to test set"] = predict_values(fitted, test.embeddings)
        if self.folds is not None and self.wants("probe"):
            told[f"{self.folds}-fold cross-validation"] = cross_predict_values(
                wanted, test.embeddings, values, folds=self.folds, seed=self.seed
            )
        for protocol, each in told.items():
            yield from measure_values(wanted, values, each, protocol=protocol, seed=self.seed)

    def _load_projection(self) -> ProjectionHead | None:
        """The projection head, where one is asked for."""
        if self.checkpoint is None:
            return None
        from galmorph.training.export import load_projection

        return load_projection(self.checkpoint, model=self.pipeline.model)

    def _check_merge(self, class_names: tuple[str, ...]) -> None:
        """Refuse to join classes that no set and no head has."""
        known = (*class_names, *getattr(self.pipeline.head, "class_names", ()))
        unknown = self.merge.find_unknown(known)
        if unknown:
            raise click.UsageError(
                f"--merge: there is no class {', '.join(unknown)}; there are "
                f"{', '.join(dict.fromkeys(known))}."
            )

    def _leaves_neighbours(self, found: LabelledSet, what: str, *, without: int = 0) -> bool:
        """Whether a set is large enough; for a protocol asked for by name that is left to it.

        Of its cutouts ``without`` have no vote.
        """
        count = len(found.labels)
        if self.asked is not None or count - without >= self.neighbours:
            return True
        click.echo(
            f"no {what}: {count} cutouts do not leave {self.neighbours} neighbours (--neighbours)",
            err=True,
        )
        return False

    def _embed_train(self) -> LabelledSet | None:
        """The training part, where a protocol needs it."""
        if self.train is None or not (self.wants("probe") or self.wants("knn")):
            return None
        return embed_set(self.pipeline, self.train, crop=self._crop(), quiet=self.quiet)

    def _from_train(self, protocols: Protocols, train: LabelledSet) -> Iterator[ProtocolResult]:
        if self.wants("probe"):
            yield protocols.linear_probe(train)
        if self.wants("knn") and self._leaves_neighbours(train, "kNN"):
            yield protocols.knn(train)

    def _deal_folds(self, protocols: Protocols) -> int | None:
        """Size of the largest fold; None without folds. Too many fail before anything else."""
        if self.folds is None or not (self.wants("probe") or self.wants("knn")):
            return None
        return protocols.find_largest_fold(self.folds)

    def _by_folds(self, protocols: Protocols, largest_fold: int) -> Iterator[ProtocolResult]:
        assert self.folds is not None
        if self.wants("probe"):
            yield protocols.cross_validated_probe(self.folds, self._embed_crops(protocols))
        what = f"kNN by {self.folds} folds"
        if self.wants("knn") and self._leaves_neighbours(
            protocols.test, what, without=largest_fold
        ):
            yield protocols.cross_validated_knn(self.folds)

    def _embed_crops(self, protocols: Protocols) -> dict[str, Any]:
        """Embeddings of the test set at every field of view to choose from."""
        found = {}
        for crop in self.crops:
            embedded = embed_set(self.pipeline, self.test, crop=crop, quiet=self.quiet)
            found[str(crop)] = protocols.check_same(embedded)
        return found

    def _crop(self) -> Any:
        """Field of view as a fraction: the one asked for, else the head's, else the model's."""
        return self.pipeline.field_of_view.crop
