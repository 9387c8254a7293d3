"""Sets of classes that hold the truth so often."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import galmorph
from galmorph.errors import OptionError
from galmorph.heads import softmax
from galmorph.heads.linear import MAX_SCORES, NO_SCORE, find_sets, list_sets, make_scores

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def make_galaxies(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three classes, the last one rare and hard, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=count, p=[0.6, 0.3, 0.1])
    logits = (
        rng.normal(size=(count, 3)) + np.array([2.0, 1.5, 0.5])[labels][:, None] * np.eye(3)[labels]
    )
    return softmax(logits), labels


def find_naively(probabilities: np.ndarray, labels: np.ndarray, row: np.ndarray, c: float) -> set:
    """Classes whose score is not above the (n + 1) c-th smallest of their own calibration."""
    found = set()
    for k in range(3):
        scores = sorted(
            1 - p[k] for p, label in zip(probabilities, labels, strict=True) if label == k
        )
        rank = math.ceil((len(scores) + 1) * c)
        if rank > len(scores) or 1 - row[k] <= scores[rank - 1]:
            found.add(k)
    return found


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_sets_by_the_definition(coverage: float) -> None:
    known, labels = make_galaxies(300, 0)
    new, _ = make_galaxies(100, 1)
    got = find_sets(new, make_scores(known, labels), coverage)
    for members, row in zip(got, new, strict=True):
        assert set(np.flatnonzero(members)) == find_naively(known, labels, row, coverage)


def test_they_are_those_of_crepes() -> None:
    crepes = pytest.importorskip("crepes")
    known, labels = make_galaxies(400, 2)
    new, _ = make_galaxies(300, 3)
    got = find_sets(new, make_scores(known, labels), 0.9)
    for k in range(3):
        fitted = crepes.ConformalClassifier()
        fitted.fit((1 - known[labels == k, k]).astype(np.float32))
        alphas = (1 - new[:, [k]]).astype(np.float32)
        other = fitted.predict_set(alphas, confidence=0.9, smoothing=False)[:, 0]
        np.testing.assert_array_equal(got[:, k], other.astype(bool))


def test_every_class_is_covered_as_often_as_asked() -> None:
    known, labels = make_galaxies(4000, 4)
    new, truth = make_galaxies(20_000, 5)
    inside = find_sets(new, make_scores(known, labels), 0.9)[np.arange(len(truth)), truth]
    for k in range(3):
        assert abs(inside[truth == k].mean() - 0.9) < 0.03


def test_so_many_scores_are_kept_and_a_class_without_enough_is_always_inside() -> None:
    known, labels = make_galaxies(2000, 6)
    scores = make_scores(known, np.where(labels == 2, 1, labels))
    assert scores.shape == (3, MAX_SCORES) and (scores[2] == NO_SCORE).all()
    assert find_sets(known, scores, 0.9)[:, 2].all()
    assert list_sets(np.array([[True, False, True]]), ("a", "b", "c")) == ["a c"]


def test_coverage_is_a_column_that_says_for_what_it_holds() -> None:
    images = sorted(EXAMPLES.glob("*.png"))[:3] or EXAMPLES
    table = galmorph.classify(images, device="cpu", coverage=0.9)
    names = {name.removeprefix("p_") for name in table.colnames if name.startswith("p_")}
    assert all(set(text.split()) <= names for text in table["label_set"])
    assert "0.9 of the cutouts of each class" in table["label_set"].description
    assert "ordinary galaxies" in table["label_set"].description
    assert table.meta["coverage"] == 0.9


def test_a_head_without_calibration_has_no_sets() -> None:
    with pytest.raises(OptionError, match="'tree' holds no calibration"):
        galmorph.classify(EXAMPLES, head="tree", coverage=0.9)
    with pytest.raises(OptionError, match="between 0 and 1"):
        galmorph.classify(EXAMPLES, coverage=90)
