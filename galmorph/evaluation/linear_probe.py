"""Linear probe on a frozen encoder: fit on one part, test on another, or fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ProbeFit", "cross_validate", "stratified_folds"]

Probe = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
ProbeFit = Callable[[npt.NDArray[Any], npt.NDArray[Any]], Probe]
"""Embeddings (n, d) and classes (n,) in; a function from embeddings to scores (m, k) out."""


def stratified_folds(
    labels: npt.NDArray[Any],
    folds: int,
    *,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
    class_names: Sequence[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Deal the rows of each class evenly to folds.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Classes.
    folds : int
        Number of folds.
    seed : int
        Of the order within each class.
    groups : ndarray of int, shape (n,), optional
        Rows of one group (views of one galaxy) stay together; all have the same class.
    class_names : sequence of str, optional
        For the message; by default classes have their number.

    Returns
    -------
    ndarray of int, shape (n,)
        Fold of each row, from 0.

    Raises
    ------
    ValueError
        A class has fewer members than there are folds.
    """
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


def cross_validate(
    embeddings: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    fit: ProbeFit,
    fold: npt.NDArray[Any],
) -> npt.NDArray[np.float64]:
    """Score each row by a probe that was fitted without its fold.

    Parameters
    ----------
    embeddings : ndarray, shape (n, d)
    labels : ndarray of int, shape (n,)
    fit : callable
        All that it chooses (regularization, temperature), it chooses on what it is given.
    fold : ndarray of int, shape (n,)
        As `stratified_folds` gives it.

    Returns
    -------
    ndarray of float, shape (n, k)
        What the probes return: probabilities or logits.
    """
    scores: npt.NDArray[np.float64] | None = None
    for number in np.unique(fold):
        held_out = fold == number
        probe = fit(embeddings[~held_out], labels[~held_out])
        found = probe(embeddings[held_out])
        if scores is None:
            scores = np.empty((len(labels), found.shape[1]))
        scores[held_out] = found
    if scores is None:
        raise ValueError("there are no rows to cross-validate")
    return scores
