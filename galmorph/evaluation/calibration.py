"""Do rows with probability p come true p of the time: reliability table, ECE, temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ReliabilityBin",
    "compute_ece",
    "compute_ece_floor",
    "compute_log_loss",
    "compute_reliability",
    "fit_temperature",
]

NUM_BINS = 15
"""As in Guo et al. 2017, ICML."""

FLOOR_DRAWS = 200

TEMPERATURE_RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose confidence lies in (low, high].

    Attributes
    ----------
    low, high : float
        Edges of the bin.
    count : int
        Rows in it.
    confidence, accuracy : float
        Their mean confidence and the fraction that is right; NaN for no rows.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def compute_reliability(
    probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], *, num_bins: int = NUM_BINS
) -> tuple[ReliabilityBin, ...]:
    """Compare confidence and accuracy in bins of confidence of equal width.

    Parameters
    ----------
    probabilities : ndarray, shape (n, num_classes)
        Rows sum to 1; the confidence is the largest.
    labels : ndarray of int, shape (n,)
        True classes.
    num_bins : int
        Bins between 0 and 1.

    Returns
    -------
    tuple of ReliabilityBin
        Lowest confidence first, empty bins included.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, num_bins + 1)
    index = _find_bins(confidence, num_bins)
    bins = []
    for i in range(num_bins):
        inside = index == i
        count = int(inside.sum())
        mean = float(confidence[inside].mean()) if count else float("nan")
        accuracy = float(right[inside].mean()) if count else float("nan")
        bins.append(ReliabilityBin(float(edges[i]), float(edges[i + 1]), count, mean, accuracy))
    return tuple(bins)


def _find_bins(confidence: npt.NDArray[Any], num_bins: int) -> npt.NDArray[np.intp]:
    """Bin of each confidence; an edge belongs to the bin below it."""
    edges = np.linspace(0, 1, num_bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)


def compute_ece(
    probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], *, num_bins: int = NUM_BINS
) -> float:
    """Expected calibration error: mean over rows of |confidence - accuracy| of their bin.

    Parameters are those of `compute_reliability`. A finite sample gives a positive value even for
    perfect probabilities: see `compute_ece_floor`.
    """
    bins = compute_reliability(probabilities, labels, num_bins=num_bins)
    gaps = [b.count * abs(b.confidence - b.accuracy) for b in bins if b.count]
    return sum(gaps) / len(labels) if len(labels) else float("nan")


def compute_ece_floor(
    probabilities: npt.NDArray[Any],
    *,
    num_bins: int = NUM_BINS,
    draws: int = FLOOR_DRAWS,
    seed: int = 0,
) -> float:
    """Mean `compute_ece` of as many rows if every probability were exactly right.

    Parameters
    ----------
    probabilities : ndarray, shape (n, num_classes)
        Rows sum to 1.
    num_bins : int
        As for `compute_ece`.
    draws : int
        How often the labels are drawn from the probabilities.
    seed : int
        Of the draws.
    """
    confidence = probabilities.max(axis=1)
    rng = np.random.default_rng(seed)
    index = _find_bins(confidence, num_bins)
    sums = []
    for _ in range(draws):
        gaps = (rng.random(len(confidence)) < confidence) - confidence
        sums.append(np.bincount(index, weights=gaps, minlength=num_bins))
    return float(np.abs(sums).sum(axis=1).mean() / len(confidence))


def _log_probabilities(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def compute_log_loss(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Mean negative log probability of the true class, in nats."""
    chosen = _log_probabilities(logits.astype(np.float64))[np.arange(len(labels)), labels]
    return float(-chosen.mean())


def fit_temperature(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Find the temperature that divides logits to the smallest log loss (Guo et al. 2017, ICML).

    Parameters
    ----------
    logits : ndarray, shape (n, num_classes)
        Of rows that the classifier was not fitted on.
    labels : ndarray of int, shape (n,)
        Their true classes.

    Returns
    -------
    float
        Between 0.05 and 20.

    Notes
    -----
    One more row counts, of every class in equal parts (after Platt 1999): few rows that happen to
    be all right would otherwise ask for a temperature of 0, which is never to be wrong.

    The loss is convex in 1 / temperature; the golden section of an interval of its logarithm
    finds the minimum.
    """

    def compute_loss(log_temperature: float) -> float:
        tempered = _log_probabilities(logits.astype(np.float64) / np.exp(log_temperature))
        told = tempered[np.arange(len(labels)), labels].mean()
        return float(-told - tempered.mean() / len(labels))

    low, high = (float(np.log(t)) for t in TEMPERATURE_RANGE)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        worse = compute_loss(left) > compute_loss(right)
        low, high = (left, high) if worse else (low, right)
    return float(np.exp((low + high) / 2))
