"""Accuracy with its interval, folds, and nearest neighbours; labels are (n,) class numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from galmorph.quantities import Array

NEIGHBOURS = 15  # as in Wei et al. 2022, PASP 134, 114508
CHUNK = 512  # queries compared with every reference at a time, so that memory stays flat
LEVEL = 0.95  # of intervals
RESAMPLES = 2000  # bootstrap samples: enough for two digits of a 95 % interval


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
