"""Multinomial logistic regression along a path of penalties, by torch's L-BFGS."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from galmorph.quantities import Array

MAX_ITERATIONS = 500
GRADIENT_TOLERANCE = 1e-4  # of the gradient, along preconditioned axes
CURVATURE = 0.1  # typical p (1 - p) of a fitted probability
Coefficients = tuple[Array, Array]


@dataclass(frozen=True)
class Standardizer:
    """Zero mean and unit variance per feature, as found on the training rows."""

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]

    def apply(self, embeddings: Array) -> Array:
        """Standardized features, (n, d)."""
        return np.asarray((embeddings - self.mean) / self.std)

    def fold(self, coefficients: Coefficients) -> Coefficients:
        """Weight and bias for features as they come, from those for standardized ones."""
        weight = coefficients[0] / self.std
        return weight, coefficients[1] - weight @ self.mean


def standardize(embeddings: Array) -> Standardizer:
    """Find mean and standard deviation; a constant feature keeps its scale."""
    std = embeddings.std(axis=0, dtype=np.float64)
    return Standardizer(embeddings.mean(axis=0, dtype=np.float64), np.where(std > 1e-9, std, 1.0))


def class_weights(labels: Array, num_classes: int) -> Array:
    """Weight of each row such that all classes weigh the same; 1 on average."""
    counts = np.bincount(labels, minlength=num_classes)
    return np.asarray(len(labels) / (np.count_nonzero(counts) * counts[labels]))


def predict(features: Array, coefficients: Coefficients) -> Array:
    """Logits (n, k), by torch, whose threads `one_thread` counts."""
    weight, bias = (torch.from_numpy(np.ascontiguousarray(part)) for part in coefficients)
    x = torch.from_numpy(np.asarray(features, dtype=np.float64))
    return F.linear(x, weight, bias).numpy()


def fit_path(
    features: Array,
    targets: Array,
    penalties: Iterable[float],
    *,
    sizes: Sequence[int] | None = None,
    weights: Array | None = None,
) -> Iterator[Coefficients]:
    """Fit for one penalty after another, strongest first: weight (k, d) and bias (k,).

    Minimizes cross entropy, plus penalty / 2 times the squared weights. ``features`` (n, d) are
    standardized; ``targets`` (n, k) are shares within questions of ``sizes`` answers, 0 where a row
    says nothing; ``weights`` (n,) are 1 on average.
    """
    basis = _PrincipalBasis(features)
    y = torch.from_numpy(np.asarray(targets, dtype=np.float64))
    if weights is not None:
        y = y * torch.from_numpy(np.asarray(weights, dtype=np.float64))[:, None]
    parts = list(sizes or [y.shape[1]])
    weight = torch.zeros(y.shape[1], features.shape[1], dtype=torch.float64)
    del features  # between two penalties a path holds one copy of them, and no more
    bias = torch.zeros(len(weight), dtype=torch.float64)
    for penalty in penalties:
        x, scale = basis.scale_for(penalty)
        start = torch.cat((weight @ basis.vectors / scale, bias[:, None]), dim=1)
        found = _minimize(x, y, parts, penalty * scale.square(), start)
        del x
        weight, bias = (found[:, :-1] * scale) @ basis.vectors.T, found[:, -1]
        yield weight.numpy().copy(), bias.numpy().copy()


def cross_predict(
    features: Array,
    targets: Array,
    fold: Array,
    penalties: Iterable[float],
    *,
    sizes: Sequence[int] | None = None,
    weights: Array | None = None,
) -> Iterator[tuple[float, Array]]:
    """For one penalty after another: out-of-fold logits of every row, (n, k)."""
    penalties = tuple(penalties)
    scales, paths = [], []
    for number in range(int(fold.max()) + 1):
        kept = fold != number
        scale = standardize(features[kept])
        part = None if weights is None else weights[kept]
        known = scale.apply(features[kept])
        paths.append(fit_path(known, targets[kept], penalties, sizes=sizes, weights=part))
        scales.append(scale)
    for penalty in penalties:
        logits = np.empty(targets.shape)
        for number, (scale, path) in enumerate(zip(scales, paths, strict=True)):
            left = fold == number
            logits[left] = predict(features[left], scale.fold(next(path)))
        yield penalty, logits


class _PrincipalBasis:
    """Features on their principal axes, scaled so that all are about equally steep for L-BFGS."""

    def __init__(self, features: Array) -> None:
        x = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float64))
        variance, self.vectors = torch.linalg.eigh(x.T @ x / len(x))
        self.variance = variance.clamp(min=0)
        self.rotated = x @ self.vectors

    def scale_for(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Features and the scale of each axis, for one penalty."""
        scale = (CURVATURE * self.variance + penalty).rsqrt()
        return self.rotated * scale, scale


def _minimize(x: Tensor, y: Tensor, sizes: list[int], penalties: Tensor, start: Tensor) -> Tensor:
    """Coefficients (k, d + 1), bias last; one penalty per feature."""
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
        shares = [part.log_softmax(dim=1) for part in torch.split(logits, sizes, dim=1)]
        mean = -(y * torch.cat(shares, dim=1)).sum() / len(y)
        value = mean + (penalties * weight.square()).sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return coefficients.detach()
