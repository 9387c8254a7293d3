"""Figures: accuracies, confusion matrix and reliability diagram; the course of a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import MissingExtraError
from galmorph.evaluation.report import ProtocolResult
from galmorph.writing import say_unwritable

DPI = 150
SMOOTHING = 200  # about so many points of the loss are drawn, each a mean


def import_figure() -> Any:
    """Import matplotlib's figure, or say how to install it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "evaluate", "to draw figures") from None
    return Figure


def draw_curves(path: str | Path, log: Sequence[Mapping[str, Any]]) -> None:
    """Draw ``loss`` and, where a line of the log has it, ``knn`` against ``step``."""
    figure = import_figure()(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    width = max(1, len(log) // SMOOTHING)
    kept = log[: len(log) // width * width]
    steps, losses = (
        np.array([line[key] for line in kept]).reshape(-1, width).mean(axis=1)
        for key in ("step", "loss")
    )
    axes.plot(steps, losses, color="C0")
    axes.set(xlabel="step", ylabel="loss")
    measured = [(line["step"], line["knn"]) for line in log if "knn" in line]
    if measured:
        right = axes.twinx()
        right.plot(*zip(*measured, strict=True), "o-", color="C1")
        right.set(ylabel="leave-one-out kNN accuracy on training images", ylim=(0, 1))
    with say_unwritable(path):
        figure.savefig(path, dpi=DPI)


def draw_report(path: str | Path, results: Sequence[ProtocolResult]) -> None:
    """Draw results to an image file, whose suffix (png, pdf, svg) chooses the format."""
    main = next((r for r in results if r.ece is not None), results[0])
    figure = import_figure()(figsize=(15, 4.5), layout="constrained")
    bars, matrix, reliability = figure.subplots(1, 3)
    _draw_accuracies(bars, results)
    _draw_confusion(matrix, main)
    _draw_reliability(reliability, main)
    with say_unwritable(path):
        figure.savefig(path, dpi=DPI)


def _draw_accuracies(axes: Any, results: Sequence[ProtocolResult]) -> None:
    for i, result in enumerate(reversed(results)):
        low, high = result.interval
        errors = [[result.accuracy - low], [high - result.accuracy]]
        axes.errorbar(result.accuracy, i, xerr=errors, fmt="o", color="C0", capsize=3)
        axes.annotate(
            f"{result.protocol}: {result.accuracy:.3f}",
            (0.02, i + 0.15),
            xycoords=axes.get_yaxis_transform(),
            fontsize=7,
        )
    axes.set(xlabel="accuracy, 95 % interval", yticks=[], ylim=(-0.5, len(results) - 0.2))
    axes.grid(axis="x", alpha=0.3)


def _draw_confusion(axes: Any, result: ProtocolResult) -> None:
    share = result.confusion / np.maximum(result.confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(result.confusion):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    ticks = range(len(result.class_names))
    axes.set_xticks(ticks, result.class_names, rotation=45, ha="right")
    axes.set_yticks(ticks, result.class_names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(result.protocol, fontsize=8, wrap=True)


def _draw_reliability(axes: Any, result: ProtocolResult) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    filled = [b for b in result.reliability if b.count]
    axes.plot([b.confidence for b in filled], [b.accuracy for b in filled], "o-")
    shown = "no probabilities" if result.ece is None else f"ECE {result.ece:.4f}"
    axes.set(xlabel="confidence", ylabel="accuracy", title=shown, xlim=(0, 1), ylim=(0, 1))
