"""k nearest neighbours against a loop."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from galmorph.evaluation import classification
from galmorph.evaluation.classification import find_by_knn


def vote(similarities: list[tuple[float, int]], k: int) -> int:
    nearest = sorted(similarities, reverse=True)[:k]
    counts = Counter(label for _, label in nearest)
    return min(label for label, count in counts.items() if count == max(counts.values()))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.fixture
def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = rng.integers(3, size=70)
    return rng.normal(size=(70, 6)) + labels[:, None] * rng.normal(size=6), labels


@pytest.mark.parametrize("k", [1, 4, 15])
def test_train_to_test_agrees_with_a_loop(points: tuple[np.ndarray, np.ndarray], k: int) -> None:
    x, y = points
    queries = np.random.default_rng(3).normal(size=(20, 6))
    want = [vote([(cosine(q, r), int(c)) for r, c in zip(x, y, strict=True)], k) for q in queries]
    np.testing.assert_array_equal(find_by_knn(x, y, queries, neighbours=k), want)


def test_leave_one_out_agrees_with_a_loop_and_crosses_chunks(
    points: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classification, "CHUNK", 16)
    x, y = points
    want = [
        vote([(cosine(x[i], x[j]), int(y[j])) for j in range(len(x)) if j != i], 7)
        for i in range(len(x))
    ]
    np.testing.assert_array_equal(find_by_knn(x, y, neighbours=7), want)


def test_length_does_not_count_and_ties_go_to_the_lowest_class() -> None:
    references = np.array([[100.0, 0.0], [0.0, 0.01]])
    found = find_by_knn(references, np.array([1, 0]), np.array([[1.0, 1.0]]), neighbours=2)
    np.testing.assert_array_equal(found, [0])
