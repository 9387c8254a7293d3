"""NMI and ARI against their definitions, and against scikit-learn where it is installed."""

from __future__ import annotations

from itertools import combinations
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galmorph.evaluation.clustering import compute_ari, compute_nmi

GROUPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


def naive_nmi(a: list[int], b: list[int]) -> float:
    n = len(a)

    def share(*conditions: tuple[list[int], int]) -> float:
        return sum(all(c[i] == v for c, v in conditions) for i in range(n)) / n

    def entropy(c: list[int]) -> float:
        return -sum(share((c, v)) * log(share((c, v))) for v in set(c))

    mutual = 0.0
    for u in set(a):
        for v in set(b):
            joint = share((a, u), (b, v))
            if joint:
                mutual += joint * log(joint / (share((a, u)) * share((b, v))))
    total = entropy(a) + entropy(b)
    return 2 * mutual / total if total else 1.0


def naive_ari(a: list[int], b: list[int]) -> float:
    pairs = list(combinations(range(len(a)), 2))
    together_a = sum(a[i] == a[j] for i, j in pairs)
    together_b = sum(b[i] == b[j] for i, j in pairs)
    both = sum(a[i] == a[j] and b[i] == b[j] for i, j in pairs)
    expected = together_a * together_b / len(pairs)
    largest = (together_a + together_b) / 2
    return 1.0 if largest == expected else (both - expected) / (largest - expected)


@settings(max_examples=60, deadline=None)
@given(GROUPS)
def test_agree_with_their_definitions(groups: list[tuple[int, int]]) -> None:
    a, b = ([pair[i] for pair in groups] for i in (0, 1))
    assert compute_nmi(np.array(a), np.array(b)) == pytest.approx(naive_nmi(a, b), abs=1e-9)
    assert compute_ari(np.array(a), np.array(b)) == pytest.approx(naive_ari(a, b), abs=1e-9)


def test_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    a = rng.integers(5, size=400)
    b = np.where(rng.random(400) < 0.6, a, rng.integers(4, size=400))
    assert compute_nmi(a, b) == pytest.approx(metrics.normalized_mutual_info_score(a, b))
    assert compute_ari(a, b) == pytest.approx(metrics.adjusted_rand_score(a, b))


def test_names_of_groups_do_not_count() -> None:
    a, b = np.array(["x", "x", "y", "z"]), np.array([7, 7, 3, 1])
    assert compute_nmi(a, b) == pytest.approx(1)
    assert compute_ari(a, b) == pytest.approx(1)


def test_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same rows are needed, not \(2,\) and \(3,\)"):
        compute_ari(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="same rows"):
        compute_nmi(np.zeros(0), np.zeros(0))
