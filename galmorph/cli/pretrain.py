"""``galmorph pretrain``: pretraining of an encoder on your own cutouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.options import GroupedCommand, options_of
from galmorph.cli.outputs import prepare_output
from galmorph.cli.status import OK
from galmorph.progress import show_progress
from galmorph.settings import PixelOptions
from galmorph.writing import say_unwritable

if TYPE_CHECKING:
    from galmorph.training.data import TrainingSet
    from galmorph.training.ranks import Ranks
    from galmorph.training.recipe import Recipe

__all__ = ["pretrain"]

MODEL_FILE = "model.safetensors"
SKIPPED_FILE = "skipped.txt"
CURVES_FILE = "curves.png"

PIXEL_OPTIONS = ("hdu", "bands", "stretch", "zeropoint", "nan", "max_pixels")

TABLE_SUFFIXES = (".csv", ".tsv", ".ecsv", ".vot", ".xml", ".csv.gz", ".tsv.gz", ".ecsv.gz")
"""Of files that cannot hold images (FITS and Parquet can)."""


@click.command(cls=GroupedCommand)
@click.argument("data", nargs=-1, metavar="[DATA]...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="RUN/",
    help="Folder for checkpoint.pt, log.jsonl, curves.png, skipped.txt and model.safetensors.",
)
@click.option(
    "--recipe",
    default="vicreg",
    show_default=True,
    metavar="NAME|FILE",
    help="vicreg, contrastive, guided, supervised, wei2022, or a .toml file like those in "
    "galmorph/training/recipes.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in RUN/, exactly.")
@click.option(
    "--init",
    metavar="FILE|NAME",
    help="Start from these weights: checkpoint.pt, RUN/, or a model by name or file.",
)
@click.option(
    "--frame",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="F",
    help="Central part of each image to train on [default: the recipe's].",
)
@click.option(
    "--path-column",
    metavar="NAME",
    help="DATA are tables, and this column holds the paths of the images.",
)
@click.option(
    "--label-column",
    metavar="NAME",
    help="Column of the table, or array beside the stack, that holds the class; images in folders "
    "and tar shards have their folder's name.",
)
@options_of(PixelOptions, *PIXEL_OPTIONS)
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(2), help="Instead of the recipe's.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of weights, order and views.",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or mps."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of the matrix products; auto is bfloat16 where the device multiplies in it.",
)
@click.option(
    "--save-every",
    type=click.FloatRange(0, min_open=True),
    default=180.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between checkpoints.",
)
@click.option(
    "--export",
    metavar="FILE",
    help="Do not train: write the encoder of the checkpoint in RUN/ as a model file.",
)
@click.option("--half", is_flag=True, help="Store the model file in float16.")
@click.option("--name", metavar="NAME", help="Name of the model [default: that of RUN/].")
@click.option(
    "--crop",
    type=click.FloatRange(0, min_open=True),
    metavar="F",
    help="Central part of a user's frame that the model will look at [default: the recipe's frame "
    "times eval_field; where DATA show only the middle of such frames, say it].",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def pretrain(
    ctx: click.Context,
    /,
    data: tuple[str, ...],
    output: Path,
    export: str | None,
    half: bool,
    name: str | None,
    crop: float | None,
    **given: Any,
) -> None:
    """Train an encoder on random views of your own cutouts.

    DATA are folders, images, tar shards, stacks (HDF5, npz, npy, Parquet), or with --path-column
    tables; all images are held in memory at 112 px (38 kB each). A folder with tar shards in it
    stands for its shards alone. The recipe `guided` uses classes: the folder in which an image
    lies, or what --label-column says.

    A run that was stopped, by Ctrl-C or otherwise, goes on with --resume and ends with the same
    weights as if it had not been. Files that cannot be read are listed in RUN/skipped.txt. Several
    GPUs share every batch under torchrun --nproc-per-node N -m galmorph pretrain.
    """
    export_to = export or str(output / MODEL_FILE)
    if not export_to.endswith(".safetensors"):
        raise click.UsageError(f"{export_to!r} must end in .safetensors.")
    if export is not None:
        prepare_output(export)
    else:
        from galmorph.training.ranks import join_ranks

        with join_ranks() as ranks:
            status = _train(data, output, ranks, **given)
        if status != OK and ranks.leads:
            click.echo(f"Stopped; go on with: --resume -o {output}", err=True)
        if status != OK or not ranks.leads:
            ctx.exit(status)
    from galmorph.model import write_model
    from galmorph.training.export import build_model, carry_heads
    from galmorph.weights.verify import update_sidecar

    model = build_model(output, name=name or output.resolve().name, crop=crop)
    write_model(export_to, carry_heads(model, export_to), half=half)
    update_sidecar(Path(export_to))
    click.echo(export_to)
    treatment = model.provenance["pretraining"].get("treatment", {})
    if treatment:
        same = " ".join(f"--{name} {value}" for name, value in treatment.items())
        click.echo(f"fit and classify with pixels treated in the same way: {same}", err=True)


def _train(
    data: tuple[str, ...],
    output: Path,
    ranks: Ranks,
    *,
    recipe: str,
    frame: float | None,
    epochs: float | None,
    batch_size: int | None,
    path_column: str | None,
    label_column: str | None,
    **options: Any,
) -> int:
    """Train to the end, or until a signal; the exit status."""
    from galmorph.cli.training import stop_on_signal
    from galmorph.training.export import check_replaceable

    _check(data, output, path_column, options)
    prepare_output(str(output / MODEL_FILE))
    check_replaceable(output / MODEL_FILE, output)
    chosen = _choose_recipe(recipe, frame=frame, epochs=epochs, batch_size=batch_size)
    if options["init"] and ranks.leads:
        _check_init(options["init"], chosen)
    quiet = options.pop("quiet") or not ranks.leads
    pixels = PixelOptions(**{name: options.pop(name) for name in PIXEL_OPTIONS})
    columns = {"path_column": path_column, "label_column": label_column}
    images = _load(data, chosen, output, quiet, columns, pixels)
    if ranks.leads:
        _list_skipped(images.skipped, output)
    if not quiet:
        click.echo(_describe(images, chosen), err=True)
    try:
        with stop_on_signal() as stop:
            ended = _run(images, chosen, output, ranks, quiet=quiet, should_stop=stop, **options)
            return OK if ended else stop.status
    finally:
        if ranks.leads:
            _draw(output, quiet)


def _run(
    data: TrainingSet,
    recipe: Recipe,
    output: Path,
    ranks: Ranks,
    *,
    seed: int,
    device: str,
    precision: str,
    init: str | None,
    resume: bool,
    save_every: float,
    quiet: bool,
    should_stop: Callable[[], bool],
) -> bool:
    """Train; whether the end was reached."""
    import torch

    from galmorph.cli.training import StepLine
    from galmorph.inference.devices import choose_device, choose_precision
    from galmorph.inference.memory import keep_freed_memory
    from galmorph.training.contrastive import PretrainingRun
    from galmorph.training.export import load_init
    from galmorph.training.loop import pretrain
    from galmorph.training.monitor import KnnMonitor

    chosen = choose_device(ranks.place(str(choose_device(device))))
    if chosen.type == "cpu":
        keep_freed_memory(everything=True)
    elif chosen.index is not None:
        torch.cuda.set_device(chosen)
    run = PretrainingRun(
        data,
        recipe,
        seed=seed,
        device=str(chosen),
        precision=choose_precision(precision, chosen),
        init=load_init(init, architecture=recipe.architecture) if init else None,
        ranks=ranks,
    )
    if resume:
        run.restore(output)
    monitor = KnnMonitor(data, field=recipe.eval_field, hold_out=recipe.hold_out)
    if not quiet and monitor.explain():
        click.echo(monitor.explain(), err=True)
    line = None if quiet else StepLine()
    try:
        return pretrain(
            run,
            output,
            save_every=save_every,
            monitor=monitor,
            on_step=line,
            should_stop=should_stop,
        )
    finally:
        if line:
            line.close()


def _check(
    data: tuple[str, ...], output: Path, path_column: str | None, options: dict[str, Any]
) -> None:
    """Refuse what does not go together.

    Raises
    ------
    click.UsageError
        With the way out.
    """
    from galmorph.training.checkpoint import CHECKPOINT
    from galmorph.training.cutouts import is_table, list_cutouts

    if not data:
        raise click.UsageError("Give DATA to train on, or --export FILE.")
    if options["resume"] and options["init"]:
        raise click.UsageError("Give --resume or --init: a resumed run has its own weights.")
    if not options["resume"] and (output / CHECKPOINT).exists():
        raise click.UsageError(f"{output} holds a run: go on with --resume, or name a new folder.")
    if options["resume"] and not (output / CHECKPOINT).exists():
        raise click.UsageError(f"{output} holds no checkpoint to go on from: leave out --resume.")
    if path_column and not any(map(is_table, data)):
        raise click.UsageError("--path-column needs a table among DATA.")
    tables = [name for name in data if name.lower().endswith(TABLE_SUFFIXES)]
    if tables and not path_column:
        raise click.UsageError(f"{tables[0]} is a table: say its --path-column NAME.")
    for argument in data:
        list_cutouts(argument, path_column=path_column)  # says what is not there


def _choose_recipe(name: str, **changes: Any) -> Recipe:
    from galmorph.training.recipe import load_recipe

    given = {key: value for key, value in changes.items() if value is not None}
    return replace(load_recipe(name), **given)


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


def _load(
    data: tuple[str, ...],
    recipe: Recipe,
    output: Path,
    quiet: bool,
    columns: dict[str, str | None],
    pixels: PixelOptions,
) -> TrainingSet:
    from galmorph.training.data import load_training_set

    with show_progress(not quiet, unit="images") as report:
        images = load_training_set(
            data,
            frame=recipe.frame,
            frame_size=recipe.frame_size,
            leave_out=output / CURVES_FILE,
            read=pixels.read,
            rendering=pixels.rendering,
            on_progress=report,
            **columns,
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
    """How many images and labels there are; labels count where the recipe uses them."""
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
