"""Expressions on columns, and that nothing else can be reached through them."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.errors import OptionError
from galmorph.tables.where import Where

COLUMNS = {
    "z": np.array([0.05, 0.2, np.nan, 0.01]),
    "label": ["spiral", "round", "spiral", ""],
    "flags": np.array([0, 32768, 1, 2048]),
    "count": np.ma.array([1, 2, 3, 4], mask=[0, 0, 0, 1]),
    "odd-name": np.array([1.0, 2.0, 3.0, 4.0]),
    "seen": np.array([True, False, True, False]),
}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("z < 0.1", [0, 3]),
        ("z < 0.1 and label == 'spiral'", [0]),
        ("not z < 0.1", [1, 2]),
        ("0.03 <= z < 0.3", [0, 1]),
        ("label in ('round', '')", [1, 3]),
        ("label not in ['spiral']", [1, 3]),
        ("count > 2", [2]),
        ("`odd-name` * 2 - z > 3.9 or seen", [0, 2, 3]),
        ("flags & 2048 != 0", [3]),
        ("-z > -0.1", [0, 3]),
    ],
)
def test_rows_are_chosen(text, rows):
    assert np.flatnonzero(Where(text).choose(COLUMNS)).tolist() == rows


def test_the_columns_that_it_needs():
    assert Where("z < 1 and `odd-name` > z").names == ["z", "odd-name"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("zz < 1", "there is no column 'zz'; z is one"),
        ("z <", "invalid syntax"),
        ("", "invalid syntax"),
        ("z", "is no condition"),
        ("1 < 2", "is no condition"),
        ("label < 3", "text is compared with a number"),
        ("z and seen", "take conditions"),
        ("z.real > 0", "is not understood"),
        ("z ** 9 > 0", "is not understood"),
        ("z[0] > 0", "is not understood"),
        ("z < (lambda: 1)()", "is not understood"),
        ("z < 1 " + "+ 1" * 2000, "longer than"),
        ("(" * 1000 + "z", "."),
    ],
)
def test_what_cannot_be_computed_is_refused(text, reason):
    with pytest.raises(OptionError, match=reason):
        Where(text).choose(COLUMNS)


def test_no_function_can_be_called():
    with pytest.raises(OptionError, match="there is no column 'open'|is not understood"):
        Where("open('/etc/passwd') == 1").choose(COLUMNS)
    with pytest.raises(OptionError, match="is not understood"):
        Where("z('x') == 1").choose(COLUMNS)


@pytest.mark.parametrize("text", ["z > 1/0", "z > 0,6"])
def test_what_python_cannot_compute_is_a_sentence(text):
    with pytest.raises(OptionError, match="cannot be computed"):
        Where(text).choose({"z": np.arange(3.0)})
