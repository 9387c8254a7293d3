"""Results of one protocol, and the report that holds several of them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.evaluation.calibration import (
    ReliabilityBin,
    compute_ece,
    compute_ece_floor,
    compute_reliability,
)
from galmorph.evaluation.classification import (
    ClassFigures,
    bootstrap_interval,
    compute_accuracy,
    compute_class_figures,
    compute_confusion,
)
from galmorph.evaluation.clustering import compute_ari, compute_nmi
from galmorph.writing import write_whole

__all__ = ["ProtocolResult", "evaluate_labels", "evaluate_probabilities", "write_report"]


@dataclass(frozen=True)
class ProtocolResult:
    """What one protocol found on one test set.

    Attributes
    ----------
    protocol : str
        What was done, in words that a referee would accept.
    class_names : tuple of str
        In the order of the rows of ``confusion``.
    count : int
        Rows evaluated.
    accuracy : float
        Fraction of rows whose predicted class is the true one.
    interval : (float, float)
        Its 95 % bootstrap interval over these rows.
    confusion : ndarray of int, shape (num_classes, num_classes)
        Row: true class; column: predicted class.
    figures : ClassFigures
        Precision, recall and F1 of each class.
    nmi, ari : float
        Of the predicted and the true labels.
    ece : float or None
        Expected calibration error; None where the protocol gives no probabilities.
    ece_floor : float or None
        What it would be on average if the probabilities were exactly right.
    reliability : tuple of ReliabilityBin
        Behind ``ece``.
    details : mapping
        Settings that were chosen, on the training part alone.
    """

    protocol: str
    class_names: tuple[str, ...]
    count: int
    accuracy: float
    interval: tuple[float, float]
    confusion: npt.NDArray[np.int64]
    figures: ClassFigures
    nmi: float
    ari: float
    ece: float | None = None
    ece_floor: float | None = None
    reliability: tuple[ReliabilityBin, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not defined is None."""
        figures = self.figures
        classes = {
            name: {
                "precision": _plain(figures.precision[k]),
                "recall": _plain(figures.recall[k]),
                "f1": _plain(figures.f1[k]),
                "count": int(figures.support[k]),
            }
            for k, name in enumerate(self.class_names)
        }
        values = {
            "protocol": self.protocol,
            "count": self.count,
            "accuracy": _plain(self.accuracy),
            "accuracy_interval_95": [_plain(v) for v in self.interval],
            "nmi": _plain(self.nmi),
            "ari": _plain(self.ari),
            "ece": _plain(self.ece),
            "ece_floor": _plain(self.ece_floor),
            "class_names": list(self.class_names),
            "classes": classes,
            "confusion": self.confusion.tolist(),
            "details": dict(self.details),
        }
        if self.reliability:
            values["reliability"] = [
                {k: _plain(v) for k, v in dataclasses.asdict(b).items()} for b in self.reliability
            ]
        return values

    def summarize(self) -> str:
        """One line for people."""
        low, high = self.interval
        line = (
            f"{self.protocol}: accuracy {self.accuracy:.4f} "
            f"(95 % interval {low:.4f} to {high:.4f}, n = {self.count}), "
            f"NMI {self.nmi:.3f}, ARI {self.ari:.3f}"
        )
        if self.ece is None:
            return line
        return f"{line}, ECE {self.ece:.4f} ({self.ece_floor:.4f} by chance alone)"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def evaluate_labels(
    protocol: str,
    labels: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    class_names: Sequence[str],
    *,
    seed: int = 0,
    details: Mapping[str, Any] | None = None,
) -> ProtocolResult:
    """Compare predicted with true classes.

    Parameters
    ----------
    protocol : str
        Its name.
    labels, predicted : ndarray of int, shape (n,)
        Index into ``class_names``.
    class_names : sequence of str
    seed : int
        Of the bootstrap.
    details : mapping, optional
        Carried into the result.
    """
    confusion = compute_confusion(labels, predicted, len(class_names))
    return ProtocolResult(
        protocol=protocol,
        class_names=tuple(class_names),
        count=len(labels),
        accuracy=compute_accuracy(labels, predicted),
        interval=bootstrap_interval(labels, predicted, seed=seed),
        confusion=confusion,
        figures=compute_class_figures(confusion),
        nmi=compute_nmi(labels, predicted),
        ari=compute_ari(labels, predicted),
        details=details or {},
    )


def evaluate_probabilities(
    protocol: str,
    labels: npt.NDArray[Any],
    probabilities: npt.NDArray[Any],
    class_names: Sequence[str],
    *,
    seed: int = 0,
    details: Mapping[str, Any] | None = None,
) -> ProtocolResult:
    """As `evaluate_labels`, with calibration; probabilities are (n, num_classes)."""
    result = evaluate_labels(
        protocol, labels, probabilities.argmax(axis=1), class_names, seed=seed, details=details
    )
    return dataclasses.replace(
        result,
        ece=compute_ece(probabilities, labels),
        ece_floor=compute_ece_floor(probabilities, seed=seed),
        reliability=compute_reliability(probabilities, labels),
    )


def write_report(
    path: str | Path, results: Sequence[ProtocolResult], *, meta: Mapping[str, Any]
) -> None:
    """Write results to a JSON file, whole or not at all.

    Parameters
    ----------
    path : path
        Replaced where it exists.
    results : sequence of ProtocolResult
    meta : mapping
        Model, data and settings.

    Raises
    ------
    OutputError
        It cannot be written; a report that was there stays as it was.
    """
    text = json.dumps({**meta, "results": [r.to_dict() for r in results]}, indent=2) + "\n"
    write_whole(path, text.encode())
