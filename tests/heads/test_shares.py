"""Shares heads: what people would say, and the class that a galaxy counts as."""

from __future__ import annotations

import math

import numpy as np
import pytest

from galmorph.heads import head_from_parts
from galmorph.heads.shares import SharesHead

NAMES = ("round", "cigar", "edge_on", "artifact")


def make_head(**changes: object) -> SharesHead:
    rng = np.random.default_rng(1)
    values: dict[str, object] = {
        "label_weight": rng.normal(size=(3, 6)).astype(np.float32),
        "label_bias": np.zeros(3, np.float32),
        "scores": np.array([[0.1, 0.4], [0.3, 2], [0.2, 0.9], [2, 2]], np.float32),
    }
    weight = rng.normal(size=(4, 6)).astype(np.float32)
    bias = np.array([0.1, -0.2, 0.3, -2], np.float32)
    return SharesHead("gz2", NAMES, weight, bias, 0.8, **(values | changes))  # type: ignore[arg-type]


def test_shares_by_the_formula() -> None:
    head, rng = make_head(), np.random.default_rng(2)
    for x in rng.normal(size=(20, 6)).astype(np.float32):
        logits = [sum(w * v for w, v in zip(row, x, strict=True)) for row in head.weight]
        logits = [float(z + b) for z, b in zip(logits, head.bias, strict=True)]
        none = 1 / (1 + math.exp(-logits[-1]))
        parts = [math.exp(z / 0.8) for z in logits[:-1]]
        expected = [(1 - none) * p / sum(parts) for p in parts] + [none]
        assert head.compute_probabilities(x[None])[0] == pytest.approx(expected, abs=1e-5)


def test_the_label_is_the_last_class_where_most_say_so_and_else_by_its_own_map() -> None:
    head = make_head()
    x = np.random.default_rng(3).normal(size=(200, 6)).astype(np.float32)
    shares, filled = head.compute_probabilities(x), head.fill(x)
    own = x @ head.label_weight.T
    for row, label in enumerate(filled["label"]):
        none = shares[row, 3] >= 0.6
        assert label == ("artifact" if none else NAMES[int(own[row].argmax())])
        assert filled["confidence"][row] == max(shares[row])
    assert {"artifact", "cigar"} <= set(filled["label"])
    assert any(
        NAMES[k] != label for k, label in zip(shares.argmax(1), filled["label"], strict=True)
    )


def test_sets_are_of_galaxies_and_artifacts_stand_alone() -> None:
    head = make_head()
    x = np.random.default_rng(4).normal(size=(100, 6)).astype(np.float32)
    sets, labels = head.find_sets(x, 0.6), head.fill(x)["label"]
    assert sets is not None
    for found, label in zip(sets, labels, strict=True):
        assert (found == "artifact") == (label == "artifact")
        assert set(found.split()) <= {*NAMES}
    assert make_head(scores=None).find_sets(x, 0.6) is None


def test_it_comes_back_from_its_parts() -> None:
    head = make_head()
    again = head_from_parts("gz2", head.to_dict(), head.to_tensors())
    x = np.random.default_rng(5).normal(size=(9, 6)).astype(np.float32)
    assert isinstance(again, SharesHead) and again.compute_sha256() == head.compute_sha256()
    assert again.fill(x)["label"] == head.fill(x)["label"]
    assert again.find_sets(x, 0.9) == head.find_sets(x, 0.9)


def test_labels_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="labels by"):
        make_head(label_weight=np.zeros((4, 6), np.float32))
