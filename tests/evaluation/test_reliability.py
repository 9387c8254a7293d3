"""Reliability, ECE and temperature."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.evaluation.classification import (
    compute_ece,
    compute_ece_floor,
    compute_log_loss,
    compute_reliability,
    fit_temperature,
)
from galmorph.heads import softmax


def draw(n: int = 4000, *, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``sharpness`` times those that the labels were drawn from."""
    rng = np.random.default_rng(8)
    logits = rng.normal(0, 2, (n, 4))
    uniform = rng.random((n, 1))
    labels = (softmax(logits).cumsum(axis=1) < uniform).sum(axis=1).clip(max=3)
    return logits * sharpness, labels


def naive_ece(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    total = 0.0
    for b in range(bins):
        rows = [i for i, p in enumerate(probabilities) if b / bins < p.max() <= (b + 1) / bins]
        if rows:
            confidence = np.mean([probabilities[i].max() for i in rows])
            accuracy = np.mean([probabilities[i].argmax() == labels[i] for i in rows])
            total += len(rows) * abs(confidence - accuracy)
    return total / len(labels)


@pytest.mark.parametrize("bins", [5, 15])
def test_ece_agrees_with_a_loop(bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galmorph.evaluation.classification.NUM_BINS", bins)
    logits, labels = draw(300, sharpness=2)
    probabilities = softmax(logits).astype(np.float64)
    want = naive_ece(probabilities, labels, bins)
    assert compute_ece(probabilities, labels) == pytest.approx(want, abs=1e-9)


def test_reliability_counts_every_row_once() -> None:
    logits, labels = draw(300)
    bins = compute_reliability(softmax(logits), labels)
    assert sum(b.count for b in bins) == 300
    assert (bins[0].low, bins[-1].high) == (0, 1)
    assert np.isnan(bins[0].accuracy)  # four classes: no confidence below 1/4
    certain = compute_reliability(np.array([[1.0, 0.0]]), np.array([0]))
    assert (certain[-1].count, certain[-1].accuracy) == (1, 1)


def test_temperature_undoes_sharpness_and_calibrates() -> None:
    logits, labels = draw(sharpness=2.5)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(2.5, rel=0.08)
    before, after = (compute_ece(softmax(logits / t), labels) for t in (1.0, temperature))
    assert before > 0.08
    assert after < 0.025


def test_temperature_is_the_best_of_a_grid() -> None:
    logits, labels = draw(500, sharpness=0.6)
    grid = np.geomspace(0.1, 10, 400)
    losses = [compute_log_loss(logits / t, labels) for t in grid]
    assert fit_temperature(logits, labels) == pytest.approx(grid[np.argmin(losses)], rel=0.02)


def test_few_rows_that_are_all_right_leave_some_doubt() -> None:
    for count in (4, 20, 60):
        labels = np.arange(count) % 2
        logits = 6.0 * np.eye(2)[labels]
        tempered = logits / fit_temperature(logits, labels)
        confidence = 1 / (1 + np.exp(-np.abs(tempered[:, 0] - tempered[:, 1])))
        assert confidence.mean() == pytest.approx((count + 0.5) / (count + 1), abs=1e-3)
    assert fit_temperature(np.zeros((4, 2)), np.array([0, 0, 1, 1])) <= 20


def test_temperature_stays_in_its_range() -> None:
    many = np.eye(2)[np.arange(4000) % 2]
    assert fit_temperature(many * 1e-3, np.arange(4000) % 2) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(many, 1 - np.arange(4000) % 2) == pytest.approx(20, rel=0.01)


def test_log_loss_of_known_probabilities() -> None:
    logits = np.log([[0.25, 0.75], [0.5, 0.5]])
    want = -(np.log(0.75) + np.log(0.5)) / 2
    assert compute_log_loss(logits, np.array([1, 0])) == pytest.approx(want)


def test_ece_floor_is_the_ece_of_labels_drawn_from_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1.0, 0.7, 0.5, 0.3], size=400)
    drawn = []
    for _ in range(300):
        labels = [rng.choice(4, p=row) for row in probabilities]
        drawn.append(compute_ece(probabilities, np.array(labels)))
    floor = compute_ece_floor(probabilities, draws=1000)
    assert floor == pytest.approx(np.mean(drawn), rel=0.05)
    assert compute_ece_floor(np.tile([1.0, 0.0], (9, 1))) == 0
    more = np.repeat(probabilities, 25, axis=0)
    assert compute_ece_floor(more) == pytest.approx(floor / 5, rel=0.1)  # 1 / sqrt(n)


def test_ece_floor_draws_for_each_row_in_turn() -> None:
    probabilities = softmax(draw(50)[0])
    confidence = probabilities.max(axis=1)
    bins = np.ceil(confidence * 15).astype(int) - 1
    gaps = (np.random.default_rng(3).random((20, 50)) < confidence) - confidence
    sums = np.stack([gaps[:, bins == b].sum(axis=1) for b in range(15)], axis=1)
    expected = np.abs(sums).sum(axis=1).mean() / 50
    assert compute_ece_floor(probabilities, draws=20, seed=3) == pytest.approx(expected, rel=1e-6)
