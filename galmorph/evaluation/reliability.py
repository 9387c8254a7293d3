"""Do rows with probability p come true p of the time: reliability table, ECE, temperature."""

from dataclasses import dataclass

import numpy as np

from galmorph.quantities import Array

NUM_BINS = 15  # as in Guo et al. 2017, ICML
TEMPERATURE_RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose confidence lies in (low, high]; means are NaN for no rows."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def compute_reliability(probabilities: Array, labels: Array) -> tuple[ReliabilityBin, ...]:
    """Confidence and accuracy in bins of equal width, lowest first, empty ones included."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    index, edges = _find_bins(confidence), np.linspace(0, 1, NUM_BINS + 1)
    count = np.bincount(index, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(index, x, minlength=NUM_BINS) / count for x in (confidence, right)]
    columns = (edges[:-1], edges[1:], count, *means)
    return tuple(map(ReliabilityBin, *(column.tolist() for column in columns)))


def _find_bins(confidence: Array) -> Array:
    """Bin of each confidence; an edge belongs to the bin below it."""
    edges = np.linspace(0, 1, NUM_BINS + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, NUM_BINS - 1)


def compute_ece(probabilities: Array, labels: Array) -> float:
    """Expected calibration error: mean over rows of |confidence - accuracy| of their bin."""
    bins = compute_reliability(probabilities, labels)
    gaps = [b.count * abs(b.confidence - b.accuracy) for b in bins if b.count]
    return sum(gaps) / len(labels) if len(labels) else float("nan")


def compute_ece_floor(probabilities: Array, *, draws: int = 200, seed: int = 0) -> float:
    """Mean `compute_ece` over labels that are drawn from the probabilities themselves."""
    confidence = probabilities.max(axis=1)
    rng = np.random.default_rng(seed)
    index = _find_bins(confidence)
    sums = []
    for _ in range(draws):
        gaps = (rng.random(len(confidence)) < confidence) - confidence
        sums.append(np.bincount(index, weights=gaps, minlength=NUM_BINS))
    return float(np.abs(sums).sum(axis=1).mean() / len(confidence))


def _log_probabilities(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def compute_log_loss(logits: Array, labels: Array) -> float:
    """Mean negative log probability of the true class, in nats; labels may be shares (n, k)."""
    return float(-_choose(_log_probabilities(logits.astype(np.float64)), labels).mean())


def _choose(log_probabilities: Array, labels: Array) -> Array:
    if labels.ndim == 2:
        return np.asarray((labels * log_probabilities).sum(axis=1))
    return np.asarray(log_probabilities[np.arange(len(labels)), labels])


def fit_temperature(logits: Array, labels: Array) -> float:
    """Temperature of the smallest log loss (Guo et al. 2017, ICML), by a golden section.

    One row more counts, of every class in equal parts (after Platt 1999): few rows that are all
    right would otherwise ask for a temperature of 0.
    """

    def compute_loss(log_temperature: float) -> float:
        tempered = _log_probabilities(logits.astype(np.float64) / np.exp(log_temperature))
        told = _choose(tempered, labels).mean()
        return float(-told - tempered.mean() / len(labels))

    low, high = (float(np.log(t)) for t in TEMPERATURE_RANGE)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        worse = compute_loss(left) > compute_loss(right)
        low, high = (left, high) if worse else (low, right)
    return float(np.exp((low + high) / 2))
