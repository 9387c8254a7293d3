"""What ``galmorph pretrain`` runs, in one process or in each of several, and what it prints."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.progress import PLAIN_INTERVAL_S, TERMINAL_INTERVAL_S, format_duration
from galmorph.cli.status import INTERRUPTED, TERMINATED

if TYPE_CHECKING:
    from galmorph.training.data import SharedSet, TrainingSet
    from galmorph.training.loop import StepReport
    from galmorph.training.ranks import Ranks
    from galmorph.training.recipe import Recipe

__all__ = ["StepLine", "Stop", "Training", "choose_processes", "stop_on_signal"]


@dataclass(frozen=True)
class Training:
    """A run as the command line has it; can be sent to other processes.

    Attributes
    ----------
    data : TrainingSet or SharedSet
    recipe : Recipe
    output : Path
    seed : int
    device, precision : str
    init : str or None
        As `galmorph.training.export.load_init` takes it.
    resume : bool
    save_every : float
    quiet : bool
    """

    data: TrainingSet | SharedSet
    recipe: Recipe
    output: Path
    seed: int
    device: str
    precision: str
    init: str | None
    resume: bool
    save_every: float
    quiet: bool

    def __call__(self, ranks: Ranks, should_stop: Callable[[], bool]) -> bool:
        """Train to the end, or until a stop; whether the end was reached."""
        import torch

        from galmorph.inference.devices import choose_device, choose_precision
        from galmorph.inference.memory import keep_freed_memory
        from galmorph.training.contrastive import PretrainingRun
        from galmorph.training.data import SharedSet
        from galmorph.training.export import load_init
        from galmorph.training.loop import pretrain
        from galmorph.training.monitor import KnnMonitor

        data = self.data.open() if isinstance(self.data, SharedSet) else self.data
        recipe, own = self.recipe, self.device
        if ranks.count > 1 and own == "cuda":
            own = f"cuda:{ranks.rank}"
        device = choose_device(own)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        if device.type == "cpu":
            keep_freed_memory(everything=True)
        run = PretrainingRun(
            data,
            recipe,
            seed=self.seed,
            device=str(device),
            precision=choose_precision(self.precision, device),
            init=load_init(self.init, architecture=recipe.architecture) if self.init else None,
            ranks=ranks,
        )
        if self.resume:
            run.restore(self.output)
        monitor = KnnMonitor(data, field=recipe.eval_field, hold_out=recipe.hold_out)
        if ranks.rank == 0 and not self.quiet and monitor.explain():
            click.echo(monitor.explain(), err=True)
        line = StepLine()
        try:
            return pretrain(
                run,
                self.output,
                save_every=self.save_every,
                monitor=monitor,
                on_step=None if self.quiet else line,
                should_stop=should_stop,
            )
        finally:
            line.close()

    def advise(self) -> str:
        """What to do after a failure."""
        from galmorph.training.checkpoint import CHECKPOINT

        if (self.output / CHECKPOINT).exists():
            return f"go on from the last checkpoint with: --resume -o {self.output}"
        return "there is no checkpoint yet (--save-every): start again"


def choose_processes(wanted: int | None, device: str, batch_size: int) -> int:
    """How many processes train together: one for each GPU, or one.

    Parameters
    ----------
    wanted : int or None
        As the user says.
    device : str
        As torch names it, with or without a number.
    batch_size : int
        Each process needs one image of it.
    """
    import torch

    gpus = torch.cuda.device_count() if device == "cuda" else 1
    if wanted is None:
        return max(1, min(gpus, batch_size))
    if wanted > batch_size:
        raise click.UsageError(f"{wanted} processes cannot share batches of {batch_size}.")
    if device != "cpu" and wanted > gpus:
        raise click.UsageError(
            f"{wanted} processes need as many GPUs; --device {device} has {gpus} of them."
        )
    return wanted


class StepLine:
    """One line of progress, rewritten on a terminal."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.last = 0.0
        self.unfinished = False

    def __call__(self, report: StepReport) -> None:
        """Say how far it is, where it is time to."""
        now = time.monotonic()
        interval = TERMINAL_INTERVAL_S if self.terminal else PLAIN_INTERVAL_S
        at_end = report.step == report.steps
        if report.knn is None and not at_end and now - self.last < interval:
            return
        self.last = now
        line = f"step {report.step}/{report.steps}, loss {report.loss:.4f}"
        if not at_end:
            line += f", {format_duration(report.seconds_left)} left"
        if report.knn is not None:
            line += f", kNN {report.knn:.3f} on training images"
        keep = report.knn is not None or at_end or not self.terminal
        sys.stderr.write(f"\r\x1b[K{line}" if self.terminal else line)
        sys.stderr.write("\n" if keep else "")
        sys.stderr.flush()
        self.unfinished = not keep

    def close(self) -> None:
        """End a line that was to be rewritten, so that what follows has its own."""
        if self.unfinished:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self.unfinished = False


class Stop:
    """What a signal has asked for."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Whether the run is to end."""
        return self.signal is not None

    @property
    def status(self) -> int:
        """Exit status of a run that was stopped."""
        return TERMINATED if self.signal == signal.SIGTERM else INTERRUPTED


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Let the first Ctrl-C or SIGTERM end the run after its step, with a checkpoint."""
    stop = Stop()
    before: dict[int, Any] = {}

    def remember(number: int, _: object) -> None:
        stop.signal = number
        signal.signal(number, before[number])  # the second one stops at once

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, remember)
    except ValueError:  # not in the main thread: signals stay as they are
        pass
    try:
        yield stop
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
