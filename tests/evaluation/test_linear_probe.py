"""Folds and cross-validation."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.evaluation.classification import ClassMerge, stratified_folds
from galmorph.training.heads import fit_head
from galmorph.training.labelled import LabelledSet
from galmorph.training.protocols import Protocols


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
    """Labels by chance are known to who has learnt them by heart, and to nobody else."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 150)).astype(np.float32), rng.integers(0, 2, 200)
    names = tuple(map(str, range(200)))
    protocols = Protocols(LabelledSet(x, y, ("a", "b"), names, names), ClassMerge({}), neighbours=1)
    head = fit_head(x, y, ("a", "b"), name="all", seed=0).head
    assert protocols.test_head(head).accuracy > 0.75
    for found in (protocols.cross_validated_knn(5), protocols.cross_validated_probe(5)):
        assert found.accuracy < 0.65
