"""Agreement of two groupings of the same rows: NMI and the adjusted Rand index."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["compute_ari", "compute_nmi"]


def _contingency(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Rows by group of ``a`` and group of ``b``."""
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"two groupings of the same rows are needed, not {a.shape} and {b.shape}")
    _, row = np.unique(a, return_inverse=True)
    _, column = np.unique(b, return_inverse=True)
    width = int(column.max()) + 1
    cells = np.bincount(row * width + column, minlength=(int(row.max()) + 1) * width)
    return cells.reshape(-1, width).astype(np.float64)


def _entropy(counts: npt.NDArray[np.float64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _pairs(counts: npt.NDArray[np.float64]) -> float:
    """Pairs of rows that share a group."""
    return float((counts * (counts - 1) / 2).sum())


def compute_nmi(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Normalized mutual information, by the mean of the two entropies (Vinh et al. 2010).

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        Group of each row; any values.

    Returns
    -------
    float
        1 for the same grouping, 0 for independent ones. Two groupings of one group each give 1.

    Raises
    ------
    ValueError
        The two are not of the same rows, or there are none.
    """
    table = _contingency(a, b)
    entropies = _entropy(table.sum(axis=1)), _entropy(table.sum(axis=0))
    if sum(entropies) == 0:
        return 1.0
    mutual = sum(entropies) - _entropy(table.ravel())
    return max(0.0, 2 * mutual / sum(entropies))


def compute_ari(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Rand index adjusted for chance (Hubert & Arabie 1985, eq. 5).

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        Group of each row; any values.

    Returns
    -------
    float
        1 for the same grouping, 0 on average for random ones; may be negative.

    Raises
    ------
    ValueError
        The two are not of the same rows, or there are none.
    """
    table = _contingency(a, b)
    both, in_a, in_b = _pairs(table), _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    total = len(a) * (len(a) - 1) / 2
    expected = in_a * in_b / total if total else 0.0
    largest = (in_a + in_b) / 2
    if largest == expected:
        return 1.0
    return (both - expected) / (largest - expected)
