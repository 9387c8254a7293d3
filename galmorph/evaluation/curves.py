"""The course of a training run as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import MissingExtraError

__all__ = ["draw_curves"]

DPI = 120
SMOOTHING = 200
"""The loss is averaged over steps so that about this many points are drawn."""


def draw_curves(path: str | Path, log: Sequence[Mapping[str, Any]]) -> None:
    """Draw loss and kNN accuracy against the step.

    Parameters
    ----------
    path : path
        Its suffix chooses the format: png, pdf, svg.
    log : sequence of mapping
        Lines with ``step``, ``loss`` and, at the end of epochs, ``knn``.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "evaluate", "to draw the curves of a run") from None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    width = max(1, len(log) // SMOOTHING)
    kept = log[: len(log) // width * width]
    steps = np.array([line["step"] for line in kept]).reshape(-1, width).mean(axis=1)
    losses = np.array([line["loss"] for line in kept]).reshape(-1, width).mean(axis=1)
    axes.plot(steps, losses, color="C0")
    axes.set(xlabel="step", ylabel="loss")
    measured = [(line["step"], line["knn"]) for line in log if "knn" in line]
    if measured:
        right = axes.twinx()
        right.plot(*zip(*measured, strict=True), "o-", color="C1")
        right.set(ylabel="leave-one-out kNN accuracy on training images", ylim=(0, 1))
    figure.savefig(path, dpi=DPI)
