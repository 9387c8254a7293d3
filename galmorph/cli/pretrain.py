"""``galmorph pretrain``: contrastive pretraining of an encoder on your own cutouts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.progress import PLAIN_INTERVAL_S, TERMINAL_INTERVAL_S, format_duration
from galmorph.cli.status import INTERRUPTED

if TYPE_CHECKING:
    from galmorph.training.contrastive import PretrainingRun
    from galmorph.training.data import TrainingSet
    from galmorph.training.loop import StepReport
    from galmorph.training.recipe import Recipe

__all__ = ["pretrain"]

MODEL_FILE = "model.safetensors"
SKIPPED_FILE = "skipped.txt"
CURVES_FILE = "curves.png"


@click.command()
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
    default="contrastive",
    show_default=True,
    metavar="NAME|FILE",
    help="contrastive, guided, wei2022, or a .toml file like those in galmorph/training/recipes.",
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
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(2), help="Instead of the recipe's.")
@click.option("--seed", default=0, show_default=True, help="Of weights, order and views.")
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
    help="Central part of a user's frame that the model will look at [default: 180/424].",
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
    """Train an encoder by contrast, on cutouts of your own.

    DATA are folders, images, tar shards or stacks, as for `galmorph classify`; all of them are
    held in memory at 112 px (38 kB each). A folder with tar shards in it stands for its shards
    alone. The recipe `guided` uses the folder in which an image lies as its class.

    A run that was stopped, by Ctrl-C or otherwise, goes on with --resume and ends with the same
    weights as if it had not been. Files that cannot be read are listed in RUN/skipped.txt.
    """
    export_to = export or str(output / MODEL_FILE)
    if not export_to.endswith(".safetensors"):
        raise click.UsageError(f"{export_to!r} must end in .safetensors.")
    if export is None and not _train(data, output, **given):
        click.echo(f"Stopped; go on with: --resume -o {output}", err=True)
        ctx.exit(INTERRUPTED)
    from galmorph.model import write_model
    from galmorph.training.export import build_model

    write_model(export_to, build_model(output, name=name or output.name, crop=crop), half=half)
    click.echo(export_to)


def _train(
    data: tuple[str, ...],
    output: Path,
    *,
    recipe: str,
    resume: bool,
    init: str | None,
    frame: float | None,
    epochs: float | None,
    batch_size: int | None,
    seed: int,
    device: str,
    precision: str,
    save_every: float,
    quiet: bool,
) -> bool:
    """Train to the end, or until a signal; whether the end was reached."""
    from galmorph.training.checkpoint import CHECKPOINT
    from galmorph.training.loop import pretrain as run_loop
    from galmorph.training.monitor import KnnMonitor

    if not data:
        raise click.UsageError("Give DATA to train on, or --export FILE.")
    if resume and init:
        raise click.UsageError("Give --resume or --init: a resumed run has its own weights.")
    if not resume and (output / CHECKPOINT).exists():
        raise click.UsageError(f"{output} holds a run: go on with --resume, or name a new folder.")
    chosen = _choose_recipe(recipe, frame=frame, epochs=epochs, batch_size=batch_size)
    images = _load(data, chosen, output, quiet)
    run = _make_run(images, chosen, seed, device, precision, init)
    if resume:
        run.restore(output)
    monitor = KnnMonitor(images, field=chosen.eval_field, hold_out=chosen.hold_out)
    with _stop_on_signal() as should_stop:
        done = run_loop(
            run,
            output,
            save_every=save_every,
            monitor=monitor,
            on_step=None if quiet else _StepLine(),
            should_stop=should_stop,
        )
    _draw(output, quiet)
    return done


def _choose_recipe(name: str, **changes: Any) -> Recipe:
    from galmorph.training.recipe import load_recipe

    given = {key: value for key, value in changes.items() if value is not None}
    return replace(load_recipe(name), **given)


def _load(data: tuple[str, ...], recipe: Recipe, output: Path, quiet: bool) -> TrainingSet:
    from galmorph.training.data import load_training_set

    images = load_training_set(data, frame=recipe.frame, frame_size=recipe.frame_size)
    output.mkdir(parents=True, exist_ok=True)
    skipped = output / SKIPPED_FILE
    if images.skipped:
        skipped.write_text("\n".join(images.skipped) + "\n", encoding="utf-8", errors="replace")
        click.echo(f"{len(images.skipped)} images skipped, listed in {skipped}", err=True)
    else:
        skipped.unlink(missing_ok=True)
    if not quiet:
        click.echo(f"{len(images)} images of {len(data)} sources", err=True)
    return images


def _make_run(
    images: TrainingSet,
    recipe: Recipe,
    seed: int,
    device: str,
    precision: str,
    init: str | None,
) -> PretrainingRun:
    from galmorph.inference.devices import choose_device, choose_precision
    from galmorph.training.contrastive import PretrainingRun
    from galmorph.training.export import load_init

    place = choose_device(device)
    return PretrainingRun(
        images,
        recipe,
        seed=seed,
        device=str(place),
        precision=choose_precision(precision, place),
        init=load_init(init, architecture=recipe.architecture) if init else None,
    )


class _StepLine:
    """One line of progress, rewritten on a terminal."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.last = 0.0

    def __call__(self, report: StepReport) -> None:
        import time

        now = time.monotonic()
        interval = TERMINAL_INTERVAL_S if self.terminal else PLAIN_INTERVAL_S
        if report.knn is None and report.step < report.steps and now - self.last < interval:
            return
        self.last = now
        line = (
            f"step {report.step}/{report.steps}, loss {report.loss:.4f}, "
            f"{format_duration(report.seconds_left)} left"
        )
        if report.knn is not None:
            line += f", kNN {report.knn:.3f} on training images"
        keep = report.knn is not None or not self.terminal
        sys.stderr.write(f"\r\x1b[K{line}" if self.terminal else line)
        sys.stderr.write("\n" if keep else "")
        sys.stderr.flush()


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or SIGTERM end the run after its step, with a checkpoint."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def remember(number: int, _: object) -> None:
        caught.append(number)
        signal.signal(number, before[number])  # the second one stops at once

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, remember)
    except ValueError:  # not in the main thread: signals stay as they are
        pass
    try:
        yield lambda: bool(caught)
    finally:
        for caught_number, handler in before.items():
            signal.signal(caught_number, handler)


def _draw(output: Path, quiet: bool) -> None:
    from galmorph.errors import MissingExtraError
    from galmorph.evaluation.curves import draw_curves
    from galmorph.training.loop import read_log

    try:
        draw_curves(output / CURVES_FILE, read_log(output))
    except MissingExtraError as error:
        if not quiet:
            click.echo(f"no {CURVES_FILE}: {error}", err=True)
