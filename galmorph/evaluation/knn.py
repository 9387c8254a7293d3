"""k nearest neighbours by cosine similarity: from a training part, or inside one set."""

from typing import Any

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 15
"""As in Wei et al. 2022, PASP 134, 114508."""

CHUNK = 512
"""Queries compared with every reference at a time, so that memory stays flat."""


def knn_predict(
    references: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    queries: npt.NDArray[Any],
    *,
    neighbours: int = NEIGHBOURS,
) -> npt.NDArray[np.int64]:
    """Class of each query, (n, d) to (n,): plain majority of the nearest of (m, d) references.

    Ties go to the lowest class. ValueError: fewer references than neighbours, or one without class.
    """
    return _predict(references, labels, queries, neighbours, itself=False)


def knn_leave_one_out(
    embeddings: npt.NDArray[Any], labels: npt.NDArray[Any], *, neighbours: int = NEIGHBOURS
) -> npt.NDArray[np.int64]:
    """Class of each row by the others of the same set, (n, d) to (n,), as `knn_predict`.

    The protocol of Wei et al. 2022 as far as their code shows it. The labels of the test part
    vote, so it is not a measure of what a classifier does on data without labels.
    """
    return _predict(embeddings, labels, embeddings, neighbours, itself=True)


def _predict(
    references: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    queries: npt.NDArray[Any],
    neighbours: int,
    itself: bool,
) -> npt.NDArray[np.int64]:
    """As `knn_predict`; query i is reference i, and no neighbour of its own, if ``itself``."""
    available = len(references) - itself
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1, not {neighbours}")
    if available < neighbours:
        raise ValueError(f"{available} references cannot give {neighbours} neighbours")
    if labels.min() < 0:
        raise ValueError("every reference needs a class; drop the rows without one")
    unit, num_classes = _unit(references), int(labels.max()) + 1
    found = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), CHUNK):
        similarity = _unit(queries[start : start + CHUNK]) @ unit.T  # (queries, references)
        rows = np.arange(len(similarity))
        if itself:
            similarity[rows, start + rows] = -np.inf
        nearest = np.argpartition(-similarity, neighbours - 1, axis=1)[:, :neighbours]
        votes = np.zeros((len(rows), num_classes), dtype=np.int64)
        np.add.at(votes, (rows[:, None], labels[nearest]), 1)
        found[start : start + CHUNK] = votes.argmax(axis=1)
    return found


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return unit
