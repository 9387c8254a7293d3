"""Accuracy with its interval; labels and predicted are (n,) class numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
"""Bootstrap samples: enough for two digits of a 95 % interval."""


def compute_accuracy(labels: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> float:
    """Fraction of rows whose predicted class is the true one; NaN for no rows."""
    return float(np.mean(labels == predicted)) if len(labels) else float("nan")


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
    doubt: there it is the exact interval of Clopper & Pearson 1934, Biometrika 26. It is of these
    rows alone: what another choice of training data would change is not in it. NaN for no rows.
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
