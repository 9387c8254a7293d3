"""Accuracy, confusion matrix, precision, recall, F1 and intervals."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.evaluation.classification import (
    bootstrap_interval,
    compute_accuracy,
    compute_class_figures,
    compute_confusion,
)

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 0])
PREDICTED = np.array([0, 1, 0, 1, 1, 2, 0, 2, 2, 0])


def test_confusion_counts_rows_by_true_class_and_columns_by_predicted() -> None:
    want = np.zeros((3, 3), dtype=int)
    for true, found in zip(LABELS, PREDICTED, strict=True):
        want[true, found] += 1
    np.testing.assert_array_equal(compute_confusion(LABELS, PREDICTED, 3), want)
    assert compute_accuracy(LABELS, PREDICTED) == 0.8


def test_class_figures_agree_with_counting() -> None:
    figures = compute_class_figures(compute_confusion(LABELS, PREDICTED, 3))
    for k in range(3):
        hits = sum(t == k and p == k for t, p in zip(LABELS, PREDICTED, strict=True))
        precision, recall = hits / (PREDICTED == k).sum(), hits / (LABELS == k).sum()
        assert figures.precision[k] == pytest.approx(precision)
        assert figures.recall[k] == pytest.approx(recall)
        assert figures.f1[k] == pytest.approx(2 * precision * recall / (precision + recall))
    np.testing.assert_array_equal(figures.support, [4, 2, 4])


def test_a_class_never_predicted_has_no_precision() -> None:
    figures = compute_class_figures(compute_confusion(np.array([0, 1]), np.array([0, 0]), 3))
    assert np.isnan(figures.precision[1])
    assert figures.recall[1] == 0
    assert np.isnan(figures.recall[2])


def test_bootstrap_interval_agrees_with_resampling_rows() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros(300, dtype=int)
    predicted = (rng.random(300) > 0.9).astype(int)
    low, high = bootstrap_interval(labels, predicted, resamples=20000)
    rows = rng.integers(300, size=(4000, 300))
    naive = np.quantile((labels == predicted)[rows].mean(axis=1), [0.025, 0.975])
    np.testing.assert_allclose([low, high], naive, atol=0.006)
    assert low < compute_accuracy(labels, predicted) < high


def test_interval_is_repeatable() -> None:
    assert bootstrap_interval(LABELS, PREDICTED, seed=3) == bootstrap_interval(
        LABELS, PREDICTED, seed=3
    )
    assert np.isnan(bootstrap_interval(LABELS[:0], LABELS[:0])).all()


@pytest.mark.parametrize("level", [0.95, 0.68])
def test_where_all_is_right_or_nothing_is_some_doubt_is_left(level: float) -> None:
    """At the limit, so good a result has the probability that the level leaves to one side."""
    low, high = bootstrap_interval(LABELS, LABELS, level=level)
    assert high == 1
    assert low ** len(LABELS) == pytest.approx((1 - level) / 2)
    wrong = bootstrap_interval(LABELS, LABELS + 1, level=level)
    assert wrong == pytest.approx((0, 1 - low))
