"""``galmorph pretrain``: pretraining of an encoder on your own cutouts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.labelled import WorkOptions
from galmorph.cli.options import GroupedCommand, options_of, prepare_output
from galmorph.cli.status import INTERRUPTED, OK, stop_on_signal
from galmorph.errors import OptionError
from galmorph.progress import show_progress
from galmorph.settings import (
    SOME,
    Choice,
    File,
    Number,
    PixelOptions,
    Texts,
    Whole,
    option,
)
from galmorph.writing import say_unwritable

if TYPE_CHECKING:
    from galmorph.training.data import TrainingSet
    from galmorph.training.loop import StepReport
    from galmorph.training.ranks import Ranks
    from galmorph.training.recipe import Recipe

MODEL_FILE = "model.safetensors"
SKIPPED_FILE = "skipped.txt"
CURVES_FILE = "curves.png"

# Of files that cannot hold images (FITS and Parquet can).
TABLE_SUFFIXES = (".csv", ".tsv", ".ecsv", ".vot", ".xml", ".csv.gz", ".tsv.gz", ".ecsv.gz")


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(WorkOptions):
    """A run of training, and the model that it ends with.

    output: Folder for checkpoint.pt, log.jsonl, curves.png, skipped.txt and model.safetensors.
    recipe: vicreg, contrastive, guided, supervised, wei2022, or a .toml file like those in
        galmorph/training/recipes.
    resume: Go on from the checkpoint in RUN/, exactly.
    init: Start from these weights: checkpoint.pt, RUN/, or a model by name or file.
    frame: Central part of each image to train on [default: the recipe's].
    path_column: DATA are tables, and this column holds the paths of the images.
    label_column: Column of the table, or array beside the stack, that holds the class; images in
        folders and tar shards have their folder's name.
    epochs: Instead of the recipe's.
    batch_size: Instead of the recipe's.
    device: auto, cpu, cuda or mps.
    precision: Of the matrix products; auto is bfloat16 where the device multiplies in it.
    save_every: Time between checkpoints.
    export: Do not train: write the encoder of the checkpoint in RUN/ as a model file.
    half: Store the model file in float16.
    name: Name of the model [default: that of RUN/].
    crop: Central part of a user's frame that the model will look at [default: the recipe's frame
        times eval_field; where DATA show only the middle of such frames, say it].
    """

    data: tuple[str, ...] = option((), Texts(), listed=False)
    output: str = option("", File(), flag="-o --output", metavar="RUN/")
    recipe: str = option("vicreg", metavar="NAME|FILE")
    resume: bool = option(False)
    init: str | None = option(None, metavar="FILE|NAME")
    frame: float | None = option(None, SOME)
    path_column: str | None = option(None)
    label_column: str | None = option(None)
    epochs: float | None = option(None, Number())
    batch_size: int | None = option(None, Whole(2))
    device: str = option("auto")
    precision: str = option("auto", Choice("auto", "float32", "bfloat16"))
    save_every: float = option(180.0, Number(), metavar="SECONDS")
    export: str | None = option(None, File())
    half: bool = option(False)
    name: str | None = option(None)
    crop: float | None = option(None, Number())

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.output:
            raise OptionError("Give -o RUN/, the folder of the run.")
        if not self.target.endswith(".safetensors"):
            raise OptionError(f"{self.target!r} must end in .safetensors.")
        if self.resume and self.init:
            raise OptionError("Give --resume or --init: a resumed run has its own weights.")

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return Path(self.output)

    @property
    def target(self) -> str:
        """File of the model."""
        return self.export or str(self.run / MODEL_FILE)

    def check_data(self) -> None:
        """Refuse what cannot be trained on, or would replace another run."""
        from galmorph.training.checkpoint import CHECKPOINT
        from galmorph.training.data import is_table, list_cutouts

        if not self.data:
            raise OptionError("Give DATA to train on, or --export FILE.")
        there = (self.run / CHECKPOINT).exists()
        if there and not self.resume:
            raise OptionError(
                f"{self.output} holds a run: go on with --resume, or name a new folder."
            )
        if self.resume and not there:
            raise OptionError(
                f"{self.output} holds no checkpoint to go on from: leave out --resume."
            )
        if self.path_column and not any(map(is_table, self.data)):
            raise OptionError("--path-column needs a table among DATA.")
        tables = [name for name in self.data if name.lower().endswith(TABLE_SUFFIXES)]
        if tables and not self.path_column:
            raise OptionError(f"{tables[0]} is a table: say its --path-column NAME.")
        for argument in self.data:
            list_cutouts(argument, path_column=self.path_column)  # says what is not there

    def load_recipe(self) -> Recipe:
        """The recipe, with what is given in place of its own."""
        from galmorph.training.recipe import load_recipe

        changes = {name: getattr(self, name) for name in ("frame", "epochs", "batch_size")}
        given = {name: value for name, value in changes.items() if value is not None}
        return replace(load_recipe(self.recipe), **given)


@click.command(cls=GroupedCommand)
@click.argument("data", nargs=-1, metavar="[DATA]...")
@options_of(PretrainOptions)
@options_of(PixelOptions, "hdu", "bands", "stretch", "zeropoint", "nan", "max_pixels")
@click.pass_context
def pretrain(ctx: click.Context, /, **given: Any) -> None:
    """Train an encoder on random views of your own cutouts.

    DATA are folders, images, tar shards, stacks (HDF5, npz, npy, Parquet), or with --path-column
    tables; all images are held in memory at 112 px (38 kB each). A folder with tar shards in it
    stands for its shards alone. The recipe `guided` uses classes: the folder in which an image
    lies, or what --label-column says.

    A run that was stopped, by Ctrl-C or otherwise, goes on with --resume and ends with the same
    weights as if it had not been. Files that cannot be read are listed in RUN/skipped.txt. Several
    GPUs share every batch under torchrun --nproc-per-node N -m galmorph pretrain.
    """
    asked = PretrainOptions.take(given)
    if asked.export is not None:
        prepare_output(asked.export)
    else:
        from galmorph.training.ranks import join_ranks

        with join_ranks() as ranks:
            status = _train(asked, PixelOptions.take(given), ranks)
        if status != OK and ranks.leads:
            click.echo(f"Stopped; go on with: --resume -o {asked.output}", err=True)
        if status != OK or not ranks.leads:
            ctx.exit(status)
    _write_model(asked)


def _write_model(asked: PretrainOptions) -> None:
    from galmorph.model import write_model
    from galmorph.training.export import build_model, carry_heads
    from galmorph.weights.verify import update_sidecar

    name = asked.name or asked.run.resolve().name
    model = build_model(asked.run, name=name, crop=asked.crop)
    write_model(asked.target, carry_heads(model, asked.target), half=asked.half)
    update_sidecar(Path(asked.target))
    click.echo(asked.target)
    treatment = model.provenance["pretraining"].get("treatment", {})
    if treatment:
        same = " ".join(f"--{name} {value}" for name, value in treatment.items())
        click.echo(f"fit and classify with pixels treated in the same way: {same}", err=True)


def _train(asked: PretrainOptions, pixels: PixelOptions, ranks: Ranks) -> int:
    from galmorph.training.export import check_replaceable

    asked = replace(asked, quiet=asked.quiet or not ranks.leads)
    asked.check_data()
    prepare_output(str(asked.run / MODEL_FILE))
    check_replaceable(asked.run / MODEL_FILE, asked.run)
    recipe = asked.load_recipe()
    if asked.init and ranks.leads:
        _check_init(asked.init, recipe)
    images = _load(asked, recipe, pixels)
    if ranks.leads:
        _list_skipped(images.skipped, asked.run)
    if not asked.quiet:
        click.echo(_describe(images, recipe), err=True)
    try:
        with stop_on_signal() as stops:
            ended = _run(images, recipe, asked, ranks, stops)
            return OK if ended else next(iter(stops), INTERRUPTED)
    finally:
        if ranks.leads:
            _draw(asked.run, asked.quiet)


def _run(
    data: TrainingSet, recipe: Recipe, asked: PretrainOptions, ranks: Ranks, stops: list[int]
) -> bool:
    import torch

    from galmorph.inference.cores import keep_freed_memory
    from galmorph.inference.devices import choose_device, choose_precision
    from galmorph.training.contrastive import PretrainingRun
    from galmorph.training.export import load_init
    from galmorph.training.loop import KnnMonitor, pretrain

    chosen = choose_device(ranks.place(str(choose_device(asked.device))))
    if chosen.type == "cpu":
        keep_freed_memory(everything=True)
    elif chosen.index is not None:
        torch.cuda.set_device(chosen)
    run = PretrainingRun(
        data,
        recipe,
        seed=asked.seed,
        device=str(chosen),
        precision=choose_precision(asked.precision, chosen),
        init=load_init(asked.init, architecture=recipe.architecture) if asked.init else None,
        ranks=ranks,
    )
    if asked.resume:
        run.restore(asked.run)
    monitor = KnnMonitor(data, field=recipe.eval_field, hold_out=recipe.hold_out)
    if not asked.quiet and monitor.explain():
        click.echo(monitor.explain(), err=True)
    began = run.step
    with show_progress(not asked.quiet, items=range(run.steps), unit="steps") as report:

        def tell(step: StepReport) -> None:
            knn = {} if step.knn is None else {"knn": f"{step.knn:.3f}"}
            report(step.step, start=began, loss=f"{step.loss:.4f}", **knn)

        return pretrain(
            run,
            asked.run,
            save_every=asked.save_every,
            monitor=monitor,
            on_step=tell,
            should_stop=lambda: bool(stops),
        )


def _check_init(origin: str, recipe: Recipe) -> None:
    """Find out before the images are read whether a run can start from these weights, and how."""
    from galmorph.training.export import load_init

    there = load_init(origin, architecture=recipe.architecture)["normalization"]
    if there != (recipe.mean, recipe.std):
        click.echo(
            f"Warning: the weights of {origin} know images of mean {there[0]} and std {there[1]}, "
            f"and the recipe normalizes by {recipe.mean} and {recipe.std}: set mean and std in the "
            "recipe to go on from what they know",
            err=True,
        )


def _load(asked: PretrainOptions, recipe: Recipe, pixels: PixelOptions) -> TrainingSet:
    from galmorph.training.data import load_training_set

    with show_progress(not asked.quiet, unit="images") as report:
        images = load_training_set(
            asked.data,
            frame=recipe.frame,
            frame_size=recipe.frame_size,
            leave_out=asked.run / CURVES_FILE,
            read=pixels.read,
            rendering=pixels.rendering,
            on_progress=report,
            path_column=asked.path_column,
            label_column=asked.label_column,
        )
    return replace(images, treatment=pixels.describe())


def _list_skipped(skipped: tuple[str, ...], output: Path) -> None:
    path = output / SKIPPED_FILE
    with say_unwritable(path):
        if not skipped:
            path.unlink(missing_ok=True)
            return
        path.write_text("\n".join(skipped) + "\n", encoding="utf-8", errors="replace")
    images = "1 image" if len(skipped) == 1 else f"{len(skipped)} images"
    click.echo(f"{images} skipped, listed in {path}", err=True)


def _describe(images: TrainingSet, recipe: Recipe) -> str:
    labelled = int((images.labels >= 0).sum())
    classes = ", ".join(f"{len(names)} classes" for names in images.class_names if len(names) > 1)
    text = f"{len(images)} images"
    if classes:
        text += f", {labelled} with a label ({classes})"
        text += "" if recipe.guided else "; the recipe does without labels"
    return text


def _draw(output: Path, quiet: bool) -> None:
    from galmorph.errors import MissingExtraError, OutputError
    from galmorph.evaluation.figure import draw_curves
    from galmorph.training.loop import read_log

    log = read_log(output)
    if not log:
        return
    try:
        draw_curves(output / CURVES_FILE, log)
    except (MissingExtraError, OutputError) as error:
        if not quiet:
            click.echo(f"no {CURVES_FILE}: {error}", err=True)
