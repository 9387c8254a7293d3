"""Regression heads: numbers within their ranges, with errors."""

import numpy as np
import pytest

from galmorph.heads import head_from_parts
from galmorph.heads.regression import RegressionHead, Target


def make_head() -> RegressionHead:
    weight = np.array([[1, 0, 0], [0, 10, 4]], np.float32)
    targets = (Target("t_type", -6, 11), Target("bar", 0, 1))
    hidden = np.array([[0, 1]], np.float32)
    parts = (np.zeros(2, np.float32), np.array([1.5, 0.2], np.float32), hidden)
    return RegressionHead("r", targets, weight, *parts, np.zeros(1, np.float32))


def test_numbers_and_errors() -> None:
    filled = make_head().fill(np.array([[3, 0], [-9, -9], [np.nan, 0]], np.float32))
    assert list(filled) == ["t_type", "t_type_error", "bar", "bar_error"]
    assert filled["t_type"][:2].tolist() == [3, -6]
    assert filled["bar"][:2].tolist() == [1, 0]  # 4 times half a unit, clipped
    assert filled["t_type_error"][0] == pytest.approx(1.5) and np.isnan(filled["bar_error"][2])
    assert [c.name for c in make_head().columns()] == list(filled)


def test_a_head_comes_back_from_its_parts() -> None:
    head = make_head()
    back = head_from_parts("r", head.to_dict(), head.to_tensors())
    assert back.to_dict() == head.to_dict() and back.compute_sha256() == head.compute_sha256()


def test_weights_must_fit_the_numbers() -> None:
    with pytest.raises(ValueError, match="2 numbers but weight"):
        RegressionHead(
            "r", make_head().targets, *(np.zeros(2, np.float32),) * 3, np.zeros((0, 2)), np.zeros(0)
        )
