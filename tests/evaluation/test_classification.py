"""Accuracy and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.evaluation.classification import bootstrap_interval, compute_accuracy

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 0])
PREDICTED = np.array([0, 1, 0, 1, 1, 2, 0, 2, 2, 0])


def test_bootstrap_interval_agrees_with_resampling_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galmorph.evaluation.classification.RESAMPLES", 20000)
    rng = np.random.default_rng(0)
    labels = np.zeros(300, dtype=int)
    predicted = (rng.random(300) > 0.9).astype(int)
    low, high = bootstrap_interval(labels, predicted)
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
def test_where_all_is_right_or_nothing_is_some_doubt_is_left(
    level: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit, so good a result has the probability that the level leaves to one side."""
    monkeypatch.setattr("galmorph.evaluation.classification.LEVEL", level)
    low, high = bootstrap_interval(LABELS, LABELS)
    assert high == 1
    assert low ** len(LABELS) == pytest.approx((1 - level) / 2)
    wrong = bootstrap_interval(LABELS, LABELS + 1)
    assert wrong == pytest.approx((0, 1 - low))
