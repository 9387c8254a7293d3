from __future__ import annotations

import json
from pathlib import PurePosixPath

import numpy as np

from galmorph.quantities import plain
from galmorph.tables.provenance import flatten_meta, list_differences


def test_flat_meta_has_dotted_keys_and_scalars():
    meta = {"model": {"name": "a", "head": {"classes": ["x", "y"]}}, "n": np.int64(3), "no": None}
    assert flatten_meta(meta) == {
        "model.name": "a",
        "model.head.classes": '["x", "y"]',
        "n": 3,
        "no": "",
    }
    assert flatten_meta({}) == {}
    assert flatten_meta({"empty": {}}) == {"empty": "{}"}


def test_plain_values_survive_json():
    value = plain(
        {"p": PurePosixPath("a/b"), 1: (np.float32(0.5), float("nan")), "s": {"b", "a"}, "t": True}
    )
    assert value == {"p": "a/b", "1": [0.5, None], "s": ["a", "b"], "t": True}
    assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_differences_name_key_and_both_values():
    recorded = {"weights": {"sha256": "aa"}, "n": 1, "old": 0, "same": [1, 2]}
    now = {"weights": {"sha256": "bb"}, "n": 1, "new": None, "same": (1, 2)}
    assert list_differences(recorded, now) == [
        'weights.sha256: recorded "aa", now "bb"',
        "old: recorded 0, now nothing",
        "new: recorded nothing, now null",
    ]


def test_of_a_sha256_the_beginning_is_shown():
    recorded, now = {"sha256": "ab" * 32}, {"sha256": "cd" * 32}
    assert list_differences(recorded, now) == ['sha256: recorded "abababab...", now "cdcdcdcd..."']


def test_true_is_not_one():
    assert list_differences({"a": 1}, {"a": True}) == ["a: recorded 1, now true"]
