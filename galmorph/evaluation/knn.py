"""k nearest neighbours by cosine similarity: from a training part, or inside one set."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NEIGHBOURS", "knn_leave_one_out", "knn_predict"]

NEIGHBOURS = 15
"""As in Wei et al. 2022, PASP 134, 114508."""

CHUNK = 512
"""Queries compared with every reference at a time, so that memory stays flat."""


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def _vote(votes: npt.NDArray[Any], num_classes: int) -> npt.NDArray[np.int64]:
    """Plain majority of each row; ties go to the lowest class."""
    rows = np.arange(len(votes))[:, None] * num_classes
    counts = np.bincount((rows + votes).ravel(), minlength=len(votes) * num_classes)
    winners: npt.NDArray[np.int64] = counts.reshape(len(votes), num_classes).argmax(axis=1)
    return winners


def _neighbours(
    references: npt.NDArray[np.float32],
    queries: npt.NDArray[np.float32],
    count: int,
    first_self: int | None = None,
) -> npt.NDArray[np.int64]:
    """Indices of the ``count`` nearest references; row i is not its own neighbour if asked."""
    similarity = queries @ references.T  # (queries, references)
    if first_self is not None:
        rows = np.arange(len(queries))
        similarity[rows, first_self + rows] = -np.inf
    return np.argpartition(-similarity, count - 1, axis=1)[:, :count]


def _check(labels: npt.NDArray[Any], neighbours: int, available: int) -> None:
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1, not {neighbours}")
    if available < neighbours:
        raise ValueError(f"{available} references cannot give {neighbours} neighbours")
    if labels.min() < 0:
        raise ValueError("every reference needs a class; drop the rows without one")


def knn_predict(
    references: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    queries: npt.NDArray[Any],
    *,
    neighbours: int = NEIGHBOURS,
) -> npt.NDArray[np.int64]:
    """Classify by the nearest rows of a training part.

    Parameters
    ----------
    references : ndarray, shape (m, d)
        Embeddings of the training part.
    labels : ndarray of int, shape (m,)
        Their classes, from 0.
    queries : ndarray, shape (n, d)
        Embeddings to classify.
    neighbours : int
        Rows that vote, each with the same weight; ties go to the lowest class.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    ValueError
        There are fewer references than neighbours, or one without a class.
    """
    _check(labels, neighbours, len(references))
    unit, asked, num_classes = _unit(references), _unit(queries), int(labels.max()) + 1
    found = [
        _vote(labels[_neighbours(unit, asked[i : i + CHUNK], neighbours)], num_classes)
        for i in range(0, len(asked), CHUNK)
    ]
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def knn_leave_one_out(
    embeddings: npt.NDArray[Any], labels: npt.NDArray[Any], *, neighbours: int = NEIGHBOURS
) -> npt.NDArray[np.int64]:
    """Classify each row by its nearest neighbours in the same set.

    The protocol of Wei et al. 2022 as far as their code shows it. The labels of the test part
    vote, so it is not a measure of what a classifier does on data without labels.

    Parameters
    ----------
    embeddings : ndarray, shape (n, d)
        Embeddings, or projections as the authors used.
    labels : ndarray of int, shape (n,)
        Classes, from 0.
    neighbours : int
        As in `knn_predict`.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    ValueError
        There are not more rows than neighbours, or one has no class.
    """
    _check(labels, neighbours, len(embeddings) - 1)
    unit, num_classes = _unit(embeddings), int(labels.max()) + 1
    found = [
        _vote(labels[_neighbours(unit, unit[i : i + CHUNK], neighbours, i)], num_classes)
        for i in range(0, len(unit), CHUNK)
    ]
    return np.concatenate(found)
