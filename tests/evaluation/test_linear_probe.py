"""Folds and cross-validation."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.evaluation.linear_probe import cross_validate, stratified_folds


def test_folds_hold_each_class_evenly() -> None:
    labels = np.repeat([0, 1, 2], [52, 11, 30])
    fold = stratified_folds(labels, 5, seed=1)
    for k in range(3):
        counts = np.bincount(fold[labels == k], minlength=5)
        assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(fold, stratified_folds(labels, 5, seed=1))
    assert (fold != stratified_folds(labels, 5, seed=2)).any()


def test_groups_stay_together() -> None:
    groups = np.repeat(np.arange(20), 4)
    fold = stratified_folds(groups % 2, 5, seed=0, groups=groups)
    for group in range(20):
        assert len(set(fold[groups == group])) == 1


def test_too_few_members_are_refused() -> None:
    with pytest.raises(ValueError, match="class number 1 has 2 members, too few for 3 folds"):
        stratified_folds(np.array([0, 0, 0, 1, 1]), 3, seed=0)
    with pytest.raises(ValueError, match="the class 'ring' has 2 members, too few for 3 folds"):
        stratified_folds(np.array([0, 0, 0, 1, 1]), 3, seed=0, class_names=("disk", "ring"))


def test_no_row_is_scored_by_a_probe_that_saw_it() -> None:
    embeddings = np.arange(10.0)[:, None]
    fold = np.arange(10) % 5

    def fit(x: np.ndarray, y: np.ndarray):  # type: ignore[no-untyped-def]
        seen = set(x[:, 0])
        return lambda queries: np.array([[float(q in seen), len(seen)] for q in queries[:, 0]])

    scores = cross_validate(embeddings, np.zeros(10, dtype=int), fit, fold)
    np.testing.assert_array_equal(scores, np.tile([0.0, 8.0], (10, 1)))
    with pytest.raises(ValueError, match="no rows"):
        cross_validate(embeddings[:0], np.zeros(0, dtype=int), fit, fold[:0])
