"""Sets of classes that hold the truth so often: split conformal prediction (Vovk et al. 2005)."""

from collections.abc import Sequence

import numpy as np

from galmorph.quantities import Array

MAX_SCORES = 400  # calibration cutouts that a head keeps of each class
NO_SCORE = 2.0  # above all scores


def make_scores(probabilities: Array, labels: Array) -> Array:
    """Sorted scores of the true classes (k, m), `NO_SCORE` where a class has fewer."""
    found = np.full((probabilities.shape[1], MAX_SCORES), NO_SCORE, dtype=np.float32)
    for row, of_class in enumerate(found):
        scores = 1 - probabilities[labels == row, row][:MAX_SCORES]
        of_class[: len(scores)] = np.sort(scores)
    return found[:, (found != NO_SCORE).any(axis=0)]


def find_sets(probabilities: Array, scores: Array, coverage: float) -> Array:
    """Classes (n, k) with scores within ``coverage`` of the calibration cutouts of the class."""
    known = (scores != NO_SCORE).sum(axis=1)
    rank = np.ceil((known + 1) * coverage).astype(int)  # from 1
    reached = np.take_along_axis(scores, np.clip(rank, 1, scores.shape[1])[:, None] - 1, axis=1)
    limit = np.where(rank > known, NO_SCORE, reached[:, 0])
    return np.asarray(1 - probabilities <= limit)


def list_sets(members: Array, class_names: Sequence[str]) -> list[str]:
    """Names of the classes in each row of (n, k), with blanks between them."""
    names = class_names[: members.shape[1]]
    return [" ".join(c for c, inside in zip(names, row, strict=True) if inside) for row in members]
