"""Linear probe on a frozen encoder, fold by fold."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = npt.NDArray[Any]


def stratified_folds(
    labels: npt.NDArray[Any],
    folds: int,
    *,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
    class_names: Sequence[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Deal the rows of each class evenly to folds: the fold of each row, from 0.

    Rows of one of the ``groups`` (views of one galaxy, all of one class) stay together; the
    ``class_names`` are for the message of the ValueError: fewer members than folds.
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
    embeddings: Arrays,
    labels: Arrays,
    fit: Callable[[Arrays, Arrays], Callable[[Arrays], Arrays]],
    fold: Arrays,
) -> npt.NDArray[np.float64]:
    """Scores (n, k) of each row by a probe that was fitted without its fold.

    ``fit`` makes a function from embeddings (m, d) to scores (m, k) of embeddings and classes; all
    that it chooses (penalty, temperature), it chooses on these.
    """
    if not len(labels):
        raise ValueError("there are no rows to cross-validate")
    parts = [fold == number for number in np.unique(fold)]
    found = [fit(embeddings[~part], labels[~part])(embeddings[part]) for part in parts]
    scores = np.empty((len(labels), found[0].shape[1]))
    for part, own in zip(parts, found, strict=True):
        scores[part] = own
    return scores
