"""Accuracy with its interval, confusion matrix, precision, recall and F1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ClassFigures",
    "bootstrap_interval",
    "compute_accuracy",
    "compute_class_figures",
    "compute_confusion",
]

RESAMPLES = 2000
"""Bootstrap samples: enough for two digits of a 95 % interval."""


@dataclass(frozen=True)
class ClassFigures:
    """How well each class is found.

    Attributes
    ----------
    precision, recall, f1 : ndarray of float, shape (num_classes,)
        NaN where the figure is not defined: a class that was never predicted has no precision.
    support : ndarray of int, shape (num_classes,)
        Rows that truly are of the class.
    """

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    support: npt.NDArray[np.int64]


def compute_accuracy(labels: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> float:
    """Fraction of rows whose predicted class is the true one; NaN for no rows."""
    return float(np.mean(labels == predicted)) if len(labels) else float("nan")


def compute_confusion(
    labels: npt.NDArray[Any], predicted: npt.NDArray[Any], num_classes: int
) -> npt.NDArray[np.int64]:
    """Count rows by true class and predicted class.

    Parameters
    ----------
    labels, predicted : ndarray of int, shape (n,)
        In [0, num_classes).
    num_classes : int
        Side of the matrix.

    Returns
    -------
    ndarray of int, shape (num_classes, num_classes)
        Row: true class. Column: predicted class.
    """
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def _divide(top: npt.NDArray[Any], bottom: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    result = np.full(len(top), np.nan)
    np.divide(top, bottom, out=result, where=bottom > 0)
    return result


def compute_class_figures(confusion: npt.NDArray[np.int64]) -> ClassFigures:
    """Precision, recall and F1 of each class from a confusion matrix."""
    hits = np.diag(confusion).astype(np.float64)
    support, claimed = confusion.sum(axis=1), confusion.sum(axis=0)
    return ClassFigures(
        precision=_divide(hits, claimed),
        recall=_divide(hits, support),
        f1=_divide(2 * hits, support + claimed),
        support=support,
    )


def bootstrap_interval(
    labels: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the accuracy (Efron & Tibshirani 1993, ch. 13).

    Where all rows are right, or none, every sample is like these, and the bootstrap knows of no
    doubt: there it is the exact interval of Clopper & Pearson 1934, Biometrika 26.

    Parameters
    ----------
    labels, predicted : ndarray of int, shape (n,)
        True and predicted classes.
    level : float
        Coverage.
    resamples, seed : int
        Number of samples of n rows with replacement, and seed of their choice.

    Returns
    -------
    low, high : float
        NaN for no rows. The interval is of these rows alone: what another choice of training
        data would change is not in it.
    """
    if not len(labels):
        return float("nan"), float("nan")
    # The hits among n rows drawn with replacement are binomial.
    count, hits = len(labels), int(np.count_nonzero(labels == predicted))
    limit = ((1 - level) / 2) ** (1 / count)
    if hits in (0, count):
        return (limit, 1.0) if hits else (0.0, 1 - limit)
    draws = np.random.default_rng(seed).binomial(count, hits / count, resamples)
    low, high = np.quantile(draws / count, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
