"""Multinomial logistic regression along a path of penalties, by torch's L-BFGS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Standardizer", "class_weights", "fit_path", "standardize"]

MAX_ITERATIONS = 500
GRADIENT_TOLERANCE = 1e-4
"""Largest component of the gradient, along preconditioned axes, at which a fit has converged."""

CURVATURE = 0.1
"""Typical p (1 - p) of a fitted probability."""

Coefficients = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Standardizer:
    """Zero mean and unit variance per feature, as found on the training rows."""

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]

    def apply(self, embeddings: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Standardized features, (n, d)."""
        result: npt.NDArray[np.float64] = (embeddings - self.mean) / self.std
        return result

    def fold(self, coefficients: Coefficients) -> Coefficients:
        """Weight and bias for features as they come, from those for standardized ones."""
        weight = coefficients[0] / self.std
        return weight, coefficients[1] - weight @ self.mean


def standardize(embeddings: npt.NDArray[Any]) -> Standardizer:
    """Find mean and standard deviation; a constant feature keeps its scale."""
    std = embeddings.std(axis=0, dtype=np.float64)
    return Standardizer(embeddings.mean(axis=0, dtype=np.float64), np.where(std > 1e-9, std, 1.0))


def class_weights(labels: npt.NDArray[Any], num_classes: int) -> npt.NDArray[np.float64]:
    """Weight of each row such that all classes weigh the same; 1 on average."""
    counts = np.bincount(labels, minlength=num_classes)
    return np.asarray(len(labels) / (np.count_nonzero(counts) * counts[labels]))


def fit_path(
    features: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    num_classes: int,
    penalties: Iterable[float],
    *,
    weights: npt.NDArray[Any] | None = None,
) -> Iterator[Coefficients]:
    """Fit for one penalty after another, each from the solution before it.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Standardized.
    labels : ndarray of int, shape (n,)
        In [0, num_classes).
    num_classes : int
    penalties : iterable of float
        L2 penalties, strongest first: the mean log loss plus penalty / 2 times the sum of squared
        weights is minimized. scikit-learn's ``C`` is 1 / (n penalty).
    weights : ndarray, shape (n,), optional
        Weight of each row, 1 on average.

    Yields
    ------
    weight : ndarray of float, shape (num_classes, d)
    bias : ndarray of float, shape (num_classes,)
    """
    basis = _PrincipalBasis(features)
    y = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    w = None if weights is None else torch.from_numpy(np.asarray(weights, dtype=np.float64))
    weight = torch.zeros(num_classes, features.shape[1], dtype=torch.float64)
    del features  # between two penalties a path holds one copy of them, and no more
    bias = torch.zeros(num_classes, dtype=torch.float64)
    for penalty in penalties:
        x, scale = basis.scale_for(penalty)
        start = torch.cat((weight @ basis.vectors / scale, bias[:, None]), dim=1)
        found = _minimize(x, y, w, penalty * scale.square(), start)
        del x
        weight, bias = (found[:, :-1] * scale) @ basis.vectors.T, found[:, -1]
        yield weight.numpy().copy(), bias.numpy().copy()


class _PrincipalBasis:
    """Features turned to their principal axes, in which the objective is easy to precondition.

    A rotation leaves the penalty as it is. Along an axis of variance v the curvature of the
    objective is near ``CURVATURE * v + penalty``; with weights in units of one over its root,
    all axes are about equally steep and L-BFGS needs tens of iterations, not hundreds.
    """

    def __init__(self, features: npt.NDArray[Any]) -> None:
        x = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float64))
        variance, self.vectors = torch.linalg.eigh(x.T @ x / len(x))
        self.variance = variance.clamp(min=0)
        self.rotated = x @ self.vectors

    def scale_for(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Features and the scale of each axis, for one penalty."""
        scale = (CURVATURE * self.variance + penalty).rsqrt()
        return self.rotated * scale, scale


def _minimize(x: Tensor, y: Tensor, w: Tensor | None, penalties: Tensor, start: Tensor) -> Tensor:
    """Coefficients (num_classes, d + 1), bias last; one penalty per feature."""
    coefficients = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [coefficients],
        max_iter=MAX_ITERATIONS,
        history_size=20,
        tolerance_grad=GRADIENT_TOLERANCE,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def objective() -> float:
        optimizer.zero_grad()
        weight, bias = coefficients[:, :-1], coefficients[:, -1]
        logits = F.linear(x, weight, bias)
        loss = F.cross_entropy(logits, y, reduction="none")
        mean = (loss if w is None else loss * w).mean()
        value = mean + (penalties * weight.square()).sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return coefficients.detach()
