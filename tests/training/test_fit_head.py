"""Logistic regression and linear heads on embeddings with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.errors import TrainingError
from galmorph.evaluation.classification import compute_ece, fit_temperature, stratified_folds
from galmorph.heads import softmax
from galmorph.training import heads as training_heads
from galmorph.training import logistic
from galmorph.training.heads import fit_head
from galmorph.training.logistic import class_weights, fit_path, standardize

NAMES = ("a", "b", "c")


def make_blobs(
    n: int = 300, *, apart: float = 2.0, d: int = 12, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Three Gaussian classes, correlated features of very different scales."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.zeros((3, d))
    centres[[0, 1, 2], [0, 1, 2]] = apart
    x = centres[labels] + rng.normal(size=(n, d))
    mix = np.eye(d) + 0.3 * np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return (x @ mix * np.geomspace(0.01, 100, d) + 5).astype(np.float32), labels


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_logistic_regression_is_the_minimum(
    penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of the objective, written out, is zero."""
    monkeypatch.setattr(logistic, "GRADIENT_TOLERANCE", 1e-7)
    x, y = make_blobs()
    features = standardize(x).apply(x)
    ((weight, bias),) = fit_path(features, np.eye(3)[y], [penalty])
    p = softmax(features @ weight.T + bias).astype(np.float64)
    error = (p - np.eye(3)[y]) / len(y)
    np.testing.assert_allclose(error.T @ features + penalty * weight, 0, atol=5e-6)
    np.testing.assert_allclose(error.sum(axis=0), 0, atol=5e-6)


def test_logistic_regression_agrees_with_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = make_blobs()
    features = standardize(x).apply(x)
    weights = class_weights(np.where(y == 2, 1, y), 2)
    for penalty, (weight, bias) in zip(
        [1e-1, 1e-2], fit_path(features, np.eye(3)[y], [1e-1, 1e-2], weights=weights), strict=True
    ):
        theirs = linear_model.LogisticRegression(C=1 / (penalty * len(y)), tol=1e-8, max_iter=5000)
        theirs.fit(features, y, sample_weight=weights)
        ours = softmax(features @ weight.T + bias)
        np.testing.assert_allclose(ours, theirs.predict_proba(features), atol=3e-3)


def test_standardization_is_folded_in() -> None:
    x, y = make_blobs()
    x[:, 3] = 7.0  # a constant feature
    scale = standardize(x)
    features = scale.apply(x)
    ((weight, bias),) = fit_path(features, np.eye(3)[y], [1e-2])
    folded = scale.fold((weight, bias))
    np.testing.assert_allclose(
        x.astype(np.float64) @ folded[0].T + folded[1], features @ weight.T + bias, atol=1e-6
    )


def test_class_weights_make_classes_equal() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    weights = class_weights(labels, 2)
    assert weights.mean() == pytest.approx(1)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())


def test_separable_classes_are_told_apart() -> None:
    x, y = make_blobs(apart=12)
    head = fit_head(x, y, NAMES, name="easy", seed=0, crop=0.5).head
    unseen, truth = make_blobs(apart=12, seed=1)
    p = head.compute_probabilities(unseen)
    np.testing.assert_array_equal(p.argmax(axis=1), truth)
    assert (head.name, head.class_names, head.crop) == ("easy", NAMES, 0.5)
    assert head.notes["cross_validated_accuracy"] == 1.0
    assert head.notes["class_counts"] == {"a": 100, "b": 100, "c": 100}


def test_overlapping_classes_come_out_calibrated_and_as_good_as_can_be() -> None:
    x, y = make_blobs(900, apart=2)
    found = fit_head(x, y, NAMES, name="hard", seed=0)
    unseen, truth = make_blobs(6000, apart=2, seed=1)
    p = found.head.compute_probabilities(unseen)
    accuracy = (p.argmax(axis=1) == truth).mean()
    # Bayes: the largest of three coordinates, of which one is shifted by 2.
    draws = np.random.default_rng(5).normal(size=(200_000, 3)) + [2, 0, 0]
    best = (draws.argmax(axis=1) == 0).mean()
    assert accuracy > best - 0.02
    assert compute_ece(p, truth) < 0.03
    assert found.accuracy == pytest.approx(accuracy, abs=0.04)
    assert found.interval[0] < found.accuracy < found.interval[1]


def test_out_of_fold_logits_set_the_temperature() -> None:
    x, y = make_blobs(90, d=60)
    found = fit_head(x, y, NAMES, name="wide", seed=0)
    assert found.head.temperature == pytest.approx(fit_temperature(found.logits, y))
    # 60 features for 90 rows: in-sample logits are better than those out of fold.
    inside = (found.head.compute_logits(x).argmax(axis=1) == y).mean()
    assert inside > found.accuracy


def test_noise_gets_no_confidence() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(150, 40)), np.arange(150) % 3
    head = fit_head(x, y, NAMES, name="noise", seed=0).head
    assert head.compute_probabilities(rng.normal(size=(50, 40))).max() < 0.5


def test_balanced_finds_the_rare_class_more_often() -> None:
    rng = np.random.default_rng(4)
    y = (np.arange(400) % 10 == 0).astype(int)
    x = rng.normal(size=(400, 5)) + 1.2 * y[:, None]
    plain, balanced = (
        fit_head(x, y, ("common", "rare"), name="x", seed=0, balanced=balanced).head
        for balanced in (False, True)
    )
    rare = x[y == 1]
    recalls = [(h.compute_logits(rare).argmax(axis=1) == 1).mean() for h in (plain, balanced)]
    assert recalls[1] > recalls[0]


def test_views_of_a_galaxy_stay_in_one_fold() -> None:
    """Copies of every row would make cross-validation see its own training rows."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(60, 80)), np.arange(60) % 3
    copies, labels, groups = np.tile(x, (2, 1)), np.tile(y, 2), np.tile(np.arange(60), 2)
    leaking = fit_head(copies, labels, NAMES, name="x", seed=0)
    honest = fit_head(copies, labels, NAMES, name="x", seed=0, groups=groups)
    assert leaking.accuracy > 0.7
    assert honest.accuracy < 0.55
    assert honest.head.notes["galaxies"] == 60


def test_the_same_seed_gives_the_same_head() -> None:
    x, y = make_blobs(60)
    one, other = (fit_head(x, y, NAMES, name="x", seed=2).head for _ in range(2))
    np.testing.assert_array_equal(one.weight, other.weight)
    assert one.temperature == other.temperature


def test_rare_classes_lower_the_number_of_folds() -> None:
    x, y = make_blobs(60, apart=12)
    keep = np.concatenate((np.flatnonzero(y != 2), np.flatnonzero(y == 2)[:3]))
    assert fit_head(x[keep], y[keep], NAMES, name="x", seed=0).head.notes["folds"] == 3
    with pytest.raises(TrainingError, match=r"two members at least.*; 1 of 3 have fewer: c; label"):
        fit_head(x[keep[:-2]], y[keep[:-2]], NAMES, name="x", seed=0)


def test_few_galaxies_are_dealt_to_more_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = make_blobs(90, apart=12)
    copies, labels, groups = np.tile(x, (2, 1)), np.tile(y, 2), np.tile(np.arange(90), 2)

    def count_folds() -> int:
        found = fit_head(copies, labels, NAMES, name="x", seed=0, groups=groups)
        return found.head.notes["folds"]

    monkeypatch.setattr(training_heads, "FEW", 91)
    assert count_folds() == 10
    monkeypatch.setattr(training_heads, "FEW", 90)
    assert count_folds() == 5


def test_of_many_classes_that_are_too_rare_some_are_named() -> None:
    """As where the labels are fractions of votes."""
    names = tuple(f"0_{n}" for n in range(78))
    with pytest.raises(TrainingError, match="78 of 78 have fewer: 0_0, 0_1, 0_2, 0_3, 0_4 and 73 "):
        fit_head(np.ones((78, 4)), np.arange(78), names, name="x", seed=0)


def test_what_cannot_be_fitted_is_refused() -> None:
    x, y = make_blobs(30)
    with pytest.raises(TrainingError, match="two or more classes"):
        fit_head(x, y * 0, ("a",), name="x", seed=0)
    with pytest.raises(TrainingError, match="30 embeddings but 29 labels"):
        fit_head(x, y[:-1], NAMES, name="x", seed=0)
    x[0, 0] = np.nan
    with pytest.raises(TrainingError, match="must be finite"):
        fit_head(x, y, NAMES, name="x", seed=0)


def test_folds_of_the_fit_are_stratified() -> None:
    labels = np.arange(60) % 3
    counts = np.bincount(stratified_folds(labels, 5, seed=0) * 3 + labels)
    assert set(counts) == {4}


def test_memorized_rows_do_not_judge() -> None:
    """An encoder that learnt most labels by heart: only the others tell how sure one may be."""
    x, y = make_blobs(900, apart=2.0)
    judges = np.arange(900) % 5 == 0
    learnt, _ = make_blobs(900, apart=4.0)
    x[~judges] = learnt[~judges]
    fooled = fit_head(x, y, NAMES, name="m", seed=0)
    honest = fit_head(x, y, NAMES, name="m", seed=0, judges=judges)
    logits, truth = honest.logits[judges], y[judges]
    assert honest.accuracy == (logits.argmax(axis=1) == truth).mean()
    assert honest.head.temperature == fit_temperature(logits, truth)
    assert honest.head.notes["cross_validated_accuracy"] == honest.accuracy
    assert fooled.accuracy > 0.95 > 0.9 > honest.accuracy
    assert fooled.head.temperature < 0.8 < 0.9 < honest.head.temperature
    assert "180 rows with labels new to the encoder" in honest.head.notes["temperature_from"]
    with pytest.raises(TrainingError, match="9 rows with held-out labels are too few"):
        fit_head(x, y, NAMES, name="m", seed=0, judges=np.arange(900) < 9)
