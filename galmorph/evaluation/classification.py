"""Accuracy with its interval, folds, nearest neighbours, calibration; coarser classes.

Labels are (n,) class numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from galmorph.quantities import Array

NEIGHBOURS = 15  # as in Wei et al. 2022, PASP 134, 114508
CHUNK = 512  # queries compared with every reference at a time, so that memory stays flat
LEVEL = 0.95  # of intervals
RESAMPLES = 2000  # bootstrap samples: enough for two digits of a 95 % interval
NUM_BINS = 15  # as in Guo et al. 2017, ICML
TEMPERATURE_RANGE = (0.05, 20.0)


def compute_accuracy(labels: Array, predicted: Array) -> float:
    """Fraction of rows whose predicted class is the true one; NaN for no rows."""
    return float(np.mean(labels == predicted)) if len(labels) else float("nan")


def bootstrap_interval(labels: Array, predicted: Array, *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the accuracy by bootstrap of these rows; exact where all are alike."""
    if not len(labels):
        return float("nan"), float("nan")
    # The hits among n rows drawn with replacement are binomial.
    count, hits = len(labels), int(np.count_nonzero(labels == predicted))
    limit = ((1 - LEVEL) / 2) ** (1 / count)
    if hits in (0, count):
        return (limit, 1.0) if hits else (0.0, 1 - limit)
    draws = np.random.default_rng(seed).binomial(count, hits / count, RESAMPLES)
    low, high = np.quantile(draws / count, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def stratified_folds(
    labels: Array,
    folds: int,
    *,
    seed: int,
    groups: Array | None = None,
    class_names: Sequence[str] | None = None,
) -> Array:
    """Deal the rows of each class evenly to folds, (n,) from 0; ``groups`` stay together."""
    if groups is None:
        groups = np.arange(len(labels))
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    classes = labels[first]
    fold = np.empty(len(first), dtype=np.int64)
    generator = np.random.default_rng(seed)
    for k in np.unique(classes):
        rows = generator.permutation(np.flatnonzero(classes == k))
        if len(rows) < folds:
            name = f"class number {k}" if class_names is None else f"the class {class_names[k]!r}"
            raise ValueError(f"{name} has {len(rows)} members, too few for {folds} folds")
        # The remainder of one class does not always fall into the same folds.
        fold[rows] = (np.arange(len(rows)) + generator.integers(folds)) % folds
    return fold[member]


def find_by_knn(
    references: Array, labels: Array, queries: Array | None = None, *, neighbours: int = NEIGHBOURS
) -> Array:
    """Class of each query, (n, d) to (n,): majority of the nearest of (m, d) by cosine similarity.

    Ties go to the lowest class. Without queries each reference is one, but no neighbour of its own.
    """
    unit, num_classes = _unit(references), int(labels.max()) + 1
    asked = references if queries is None else queries
    found = np.empty(len(asked), dtype=np.int64)
    for start in range(0, len(asked), CHUNK):
        similarity = _unit(asked[start : start + CHUNK]) @ unit.T  # (queries, references)
        rows = np.arange(len(similarity))
        if queries is None:
            similarity[rows, start + rows] = -np.inf
        nearest = np.argpartition(-similarity, neighbours - 1, axis=1)[:, :neighbours]
        votes = np.zeros((len(rows), num_classes), dtype=np.int64)
        np.add.at(votes, (rows[:, None], labels[nearest]), 1)
        found[start : start + CHUNK] = votes.argmax(axis=1)
    return found


def _unit(vectors: Array) -> Array:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)


@dataclass(frozen=True)
class ClassMerge:
    """Which classes become one, by the name of each joined class.

    >>> ClassMerge({"smooth": ("round", "cigar")}).rename(("round", "spiral", "cigar"))
    ('smooth', 'spiral')
    """

    parts: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        members = self.find_unknown(())
        twice = sorted({m for m in members if members.count(m) > 1})
        if twice:
            raise ValueError(f"classes {twice} are merged twice")

    def find_unknown(self, class_names: Iterable[str]) -> list[str]:
        """Members of joined classes that are not among ``class_names``."""
        there = set(class_names)
        return [m for names in self.parts.values() for m in names if m not in there]

    def name_of(self, class_name: str) -> str:
        """The class that ``class_name`` becomes: its own name where it is not merged."""
        joined = (name for name, members in self.parts.items() if class_name in members)
        return next(joined, class_name)

    def rename(self, class_names: Sequence[str]) -> tuple[str, ...]:
        """Class names after the merge, in order of first appearance."""
        return tuple(dict.fromkeys(self.name_of(name) for name in class_names))

    def merge_probabilities(self, probabilities: Array, class_names: Sequence[str]) -> Array:
        """Add up the probabilities of the classes that become one, (n, k) to (n, merged)."""
        merged = self.rename(class_names)
        matrix = [[self.name_of(name) == joined for joined in merged] for name in class_names]
        return np.asarray(probabilities @ np.array(matrix, dtype=probabilities.dtype))


def parse_merges(texts: Iterable[str], *, clean: Callable[[str], str] = str.strip) -> ClassMerge:
    """Read merges as they are typed: ``smooth=round+in_between+cigar``; one may come in parts."""
    parts: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, members = text.partition("=")
        names = tuple(clean(m) for m in members.split("+"))
        if not equals or not clean(name) or not all(names):
            raise ValueError(f"a merge reads NEW=OLD+OLD, not {text!r}")
        parts[clean(name)] = parts.get(clean(name), ()) + names
    return ClassMerge(parts)


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
