"""The bit mask and its decoder."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from galmorph.flags import NO_LABEL, Flags, decode_flags


def test_every_flag_has_its_name() -> None:
    assert decode_flags(0) == []
    for flag in Flags:
        assert decode_flags(flag.value) == [str(flag.name).lower()]
    assert decode_flags(int(NO_LABEL)) == [
        *("read_failed", "bad_pixels_refused", "constant", "encode_failed", "reader_crashed"),
        *("not_covered", "not_answered", "head_failed"),
    ]


@pytest.mark.parametrize("value", [257, np.int32(257), np.array(257), 257.0, Flags(257)])
def test_one_value_of_any_type(value: int) -> None:
    assert decode_flags(value) == ["read_failed", "bad_pixels_filled"]


def test_a_column_is_decoded_value_by_value() -> None:
    table = Table({"flags": [1, 0]})
    for column in (table["flags"], np.array([1, 0]), [1, 0]):
        with pytest.raises(TypeError, match=r"one value; of a column: map\(decode_flags"):
            decode_flags(column)
    assert list(map(decode_flags, table["flags"])) == [["read_failed"], []]


@pytest.mark.parametrize("value", [-1, 1.5, 1 << 27, 1 << 30, float("nan"), "257"])
def test_what_is_no_flag_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="flags column|NaN"):
        decode_flags(value)
