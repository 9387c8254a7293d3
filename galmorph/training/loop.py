"""The loop of a pretraining run: log, checkpoints, the kNN curve, a clean stop."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galmorph.errors import TrainingError
from galmorph.training.checkpoint import CHECKPOINT
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.monitor import KnnMonitor
from galmorph.writing import say_unwritable, write_whole

LOG = "log.jsonl"


@dataclass(frozen=True)
class StepReport:
    """What one step did."""

    step: int  # from 1
    loss: float
    knn: float | None = None  # accuracy of the monitor, at the end of an epoch


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a run, if there is one; a last line cut short by a crash is left out."""
    lines: list[dict[str, Any]] = []
    if (folder / LOG).exists():
        for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
    return lines


class _Log:
    """The log of a run that goes on after ``step``: what lies behind it will be done again."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / LOG
        with say_unwritable(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            kept = [json.dumps(line) + "\n" for line in read_log(folder) if line["step"] <= step]
        write_whole(self.path, "".join(kept).encode())

    def write(self, step: int, loss: float, lr: float, knn: float | None) -> None:
        """Add the line of one step."""
        line: dict[str, Any] = {"step": step, "loss": loss, "lr": lr}
        if knn is not None:
            line["knn"] = knn
        with say_unwritable(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pretrain(
    run: PretrainingRun,
    folder: Path,
    *,
    save_every: float = 180.0,
    monitor: KnnMonitor | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train a run to the end of the recipe, or until ``should_stop``; whether that was reached."""
    ranks = run.ranks
    log = _Log(folder, run.step) if ranks.leads else None
    saved = time.monotonic()
    try:
        while run.step < run.steps:
            loss, lr = run.advance()
            if log is not None:
                knn = _measure(run, monitor)
                log.write(run.step, loss, lr, knn)
                if on_step is not None:
                    on_step(StepReport(run.step, loss, knn))
            if ranks.any(should_stop()):
                break
            if ranks.leads and time.monotonic() - saved > save_every:
                run.save(folder)
                saved = time.monotonic()
        if ranks.leads:
            run.save(folder)
    except TrainingError as error:
        raise TrainingError(f"{error}; {_find_way_out(folder)}") from error
    return run.step >= run.steps


def _find_way_out(folder: Path) -> str:
    if (folder / CHECKPOINT).exists():
        return (
            "the last good checkpoint is kept. Go on from it with --resume --precision float32, or "
            "start a new run from it with --init and a smaller lr in the recipe"
        )
    return "there is no checkpoint yet: start again with --precision float32 or a smaller lr"


def _measure(run: PretrainingRun, monitor: KnnMonitor | None) -> float | None:
    at_end = run.step % run.steps_per_epoch == 0 or run.step == run.steps
    if not monitor or not at_end:
        return None
    return monitor.measure(run.kept_encoder, run.mean, run.std)
