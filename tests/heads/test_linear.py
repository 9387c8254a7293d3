"""Linear heads."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.heads import LinearHead, softmax


def make_head(temperature: float = 1.0) -> LinearHead:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((3, 8)).astype(np.float32)
    bias = np.zeros(3, dtype=np.float32)
    return LinearHead("test", ("a", "b", "c"), weight, bias, temperature)


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    embeddings = np.random.default_rng(6).standard_normal((4, 8)).astype(np.float32)
    head = make_head(temperature=2.0)
    got = head.compute_probabilities(embeddings)
    for row, embedding in zip(got, embeddings, strict=True):
        logits = [float(w @ embedding) / 2.0 for w in head.weight]
        total = sum(np.exp(logits))
        np.testing.assert_allclose(row, [np.exp(x) / total for x in logits], rtol=1e-5)


def test_temperature_moves_confidence_and_not_the_label() -> None:
    embeddings = np.random.default_rng(7).standard_normal((50, 8)).astype(np.float32)
    sharp = make_head(0.5).compute_probabilities(embeddings)
    soft = make_head(3.0).compute_probabilities(embeddings)
    np.testing.assert_array_equal(sharp.argmax(1), soft.argmax(1))
    assert (sharp.max(1) > soft.max(1)).all()


def test_softmax_of_large_logits_is_finite() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0]])), [[1.0, 0.0]])


def test_nan_rows_stay_nan() -> None:
    embeddings = np.full((1, 8), np.nan, dtype=np.float32)
    assert np.isnan(make_head().compute_probabilities(embeddings)).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "a", "b"), "two or more classes"),
        (("Sab", "SAB", "b"), "differ in more than capitals"),
        (("a", "b c", "d"), "letters, digits"),
        (("спираль", "эллипс", "b"), r"letters a to z .* become \['p_', 'p_', 'p_b'\]"),
        (("a", "b", "_"), "letters a to z"),
        (("_bar", "bar", "b"), r"become \['p_bar', 'p_bar', 'p_b'\]"),
        (("a", "b"), "2 classes but"),
    ],
)
def test_wrong_heads_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearHead("x", names, np.zeros((3, 4), np.float32), np.zeros(3, np.float32))
