"""Results of one protocol, of classes or of values, and the report that holds several of them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import MissingExtraError
from galmorph.evaluation.classification import (
    ReliabilityBin,
    bootstrap_interval,
    compute_accuracy,
    compute_ece,
    compute_ece_floor,
    compute_reliability,
)
from galmorph.quantities import Array, plain
from galmorph.writing import write_whole

DRAWS = 1000


@dataclass(frozen=True)
class ValueResult:
    """What one protocol found of one question or number."""

    protocol: str
    name: str
    count: int
    rmse: float
    interval: tuple[float, float]  # of the rms error, 95 %, over these rows
    agreement: float  # part of rows whose largest share is right; of a number, the correlation

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        values["rmse_interval_95"] = values.pop("interval")
        return values

    def summarize(self) -> str:
        """One line for people."""
        low, high = self.interval
        return (
            f"{self.name}, {self.protocol}: rms error {self.rmse:.4g} (95 % interval {low:.4g} to "
            f"{high:.4g}, n = {self.count}), agreement {self.agreement:.3f}"
        )


def compare_shares(
    protocol: str, name: str, votes: Array, shares: Array, *, seed: int = 0
) -> ValueResult:
    """Expected shares (n, k) against counts; rows that nobody answered are left out."""
    people = np.nan_to_num(votes).sum(axis=1)
    some = people > 0
    counted, shares = np.nan_to_num(votes)[some] / people[some, None], shares[some]
    right = float((counted.argmax(axis=1) == shares.argmax(axis=1)).mean())
    return _summarize(protocol, name, ((shares - counted) ** 2).mean(axis=1), right, seed)


def compare_numbers(
    protocol: str, name: str, values: Array, told: Array, *, seed: int = 0
) -> ValueResult:
    """Numbers (n,) against what was measured; rows where that is NaN are left out."""
    some = np.isfinite(values)
    values, told = values[some], told[some]
    r = float(np.corrcoef(values, told)[0, 1]) if np.ptp(values) and np.ptp(told) else float("nan")
    return _summarize(protocol, name, (told - values) ** 2, r, seed)


def _summarize(protocol: str, name: str, square: Array, agreement: float, seed: int) -> ValueResult:
    rng, n = np.random.default_rng(seed), len(square)
    drawn = [np.sqrt(square[rng.integers(0, n, n)].mean()) for _ in range(DRAWS)]
    low, high = (float(v) for v in np.quantile(drawn, [0.025, 0.975]))
    return ValueResult(protocol, name, n, float(np.sqrt(square.mean())), (low, high), agreement)


def import_metrics() -> Any:
    """Import scikit-learn's figures of merit, or say how to install it."""
    try:
        from sklearn import metrics
    except ImportError:
        raise MissingExtraError("scikit-learn", "evaluate", "to measure a classifier") from None
    return metrics


@dataclass(frozen=True)
class ProtocolResult:
    """What one protocol found on one test set; ECE is None where it gives no probabilities."""

    protocol: str  # in words that a referee would accept
    class_names: tuple[str, ...]
    count: int
    accuracy: float
    interval: tuple[float, float]  # of the accuracy, 95 %, over these rows
    confusion: npt.NDArray[np.int64]  # row: true class; column: predicted class
    classes: Mapping[str, Mapping[str, Any]]  # precision, recall, f1, count; NaN if not defined
    nmi: float
    ari: float
    ece: float | None = None
    ece_floor: float | None = None  # what it would be on average with exact probabilities
    reliability: tuple[ReliabilityBin, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)  # chosen on the training part alone

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not defined is None."""
        values: dict[str, Any] = plain(dataclasses.asdict(self))
        values["accuracy_interval_95"] = values.pop("interval")
        if not self.reliability:
            del values["reliability"]
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


def evaluate_labels(
    protocol: str,
    labels: Array,
    predicted: Array,
    class_names: Sequence[str],
    *,
    probabilities: Array | None = None,
    seed: int = 0,
    details: Mapping[str, Any] | None = None,
) -> ProtocolResult:
    """Compare predicted with true classes, (n,), and probabilities (n, num_classes), if any."""
    metrics, numbers = import_metrics(), range(len(class_names))
    figures = metrics.precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=np.nan
    )
    columns = ("precision", "recall", "f1", "count")
    calibration: dict[str, Any] = {}
    if probabilities is not None:
        calibration = {
            "ece": compute_ece(probabilities, labels),
            "ece_floor": compute_ece_floor(probabilities, seed=seed),
            "reliability": compute_reliability(probabilities, labels),
        }
    return ProtocolResult(
        protocol=protocol,
        class_names=tuple(class_names),
        count=len(labels),
        accuracy=compute_accuracy(labels, predicted),
        interval=bootstrap_interval(labels, predicted, seed=seed),
        confusion=metrics.confusion_matrix(labels, predicted, labels=numbers),
        classes={
            name: dict(zip(columns, row, strict=True))
            for name, *row in zip(class_names, *figures, strict=True)
        },
        nmi=float(metrics.normalized_mutual_info_score(labels, predicted)),
        ari=float(metrics.adjusted_rand_score(labels, predicted)),
        **calibration,
        details=details or {},
    )


def write_report(
    path: str | Path, results: Sequence[ProtocolResult | ValueResult], *, meta: Mapping[str, Any]
) -> None:
    """Write results and ``meta`` (model, data, settings) as JSON, whole or not at all."""
    text = json.dumps({**meta, "results": [r.to_dict() for r in results]}, indent=2) + "\n"
    write_whole(path, text.encode())
