"""The loop of a pretraining run: log, checkpoints, the kNN curve, a clean stop."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from galmorph.errors import TrainingError
from galmorph.evaluation.classification import NEIGHBOURS, compute_accuracy, find_by_knn
from galmorph.quantities import Array
from galmorph.training.checkpoint import CHECKPOINT
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.data import TrainingSet
from galmorph.training.views import make_eval_view
from galmorph.writing import say_unwritable, write_whole

SAMPLE = 2000
BATCH_SIZE = 128
LOG = "log.jsonl"


class KnnMonitor:
    """Leave-one-out kNN accuracy inside a fixed sample of the training images: a curve to watch."""

    def __init__(
        self, data: TrainingSet, *, field: float, seed: int = 0, hold_out: float = 0.0
    ) -> None:
        self.data, self.field, self.hold_out = data, field, hold_out
        self.rows = _choose_rows(data, seed, hold_out)

    def __bool__(self) -> bool:
        return len(self.rows) > NEIGHBOURS

    def explain(self) -> str:
        """Why there will be no curve; "" where there will be one, or nothing has a class."""
        if self or (self.data.labels < 0).all():
            return ""
        kind = "held-out labels" if self.hold_out > 0 else "labels"
        return f"no kNN curve: it takes {NEIGHBOURS + 1} {kind} of one source, not {len(self.rows)}"

    def measure(self, encoder: nn.Module, mean: Tensor, std: Tensor) -> float:
        """Accuracy now; the encoder is left as it was."""
        training = encoder.training
        encoder.eval()
        embeddings = [
            self._embed(encoder, self.rows[i : i + BATCH_SIZE], mean, std)
            for i in range(0, len(self.rows), BATCH_SIZE)
        ]
        encoder.train(training)
        labels = self.data.labels[self.rows]
        return compute_accuracy(labels, find_by_knn(np.concatenate(embeddings), labels))

    def _embed(self, encoder: nn.Module, rows: Array, mean: Tensor, std: Tensor) -> Array:
        images = torch.from_numpy(self.data.images[rows]).to(mean.device)
        size: int = encoder.img_size  # type: ignore[assignment]
        with torch.inference_mode():
            views = make_eval_view(images, img_size=size, field=self.field)
            embedding: Array = encoder((views - mean) / std).cpu().numpy()
        return embedding


def _choose_rows(data: TrainingSet, seed: int, hold_out: float) -> Array:
    usable = data.labels >= 0
    if hold_out > 0:
        usable &= data.hold_out(hold_out).labels < 0
    for domain, names in enumerate(data.class_names):
        rows = np.flatnonzero((data.domains == domain) & usable)
        if len(names) > 1 and len(rows):
            chosen = np.random.default_rng(seed).permutation(rows)[:SAMPLE]
            return np.sort(chosen)
    return np.empty(0, dtype=np.int64)


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
