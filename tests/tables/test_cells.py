from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from galmorph.tables import ColumnSpec
from galmorph.tables.cells import format_vector, missing_values, normalize, to_digits
from galmorph.tables.journal import pack, unpack

F32 = ColumnSpec("x", "float32")


def back(values, spec):
    """What a partial result gives back."""
    column = normalize(values, spec)
    (result,) = unpack(pack([column]), len(column), [spec])
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_floats_come_back_bit_by_bit(dtype, data):
    values = data.draw(arrays(dtype, 5, elements=st.floats(width=int(dtype[-2:]), allow_nan=True)))
    np.testing.assert_array_equal(back(values, ColumnSpec("x", dtype)), values)


def test_floats_have_the_fewest_digits():
    assert to_digits(np.float32([0.1, 1e-8, np.nan, np.inf])) == ["0.1", "1e-08", "", "inf"]


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64"])
def test_whole_numbers_come_back_with_their_limits_and_gaps(dtype):
    limits = np.iinfo(dtype)
    values = np.ma.MaskedArray([limits.min, 0, limits.max, 5], mask=[0, 0, 0, 1], dtype=dtype)
    result = back(values, ColumnSpec("n", dtype))
    assert result.dtype == dtype
    assert result.tolist() == [limits.min, 0, limits.max, None]


def test_booleans_come_back():
    assert back([True, None, False], ColumnSpec("b", "bool")).tolist() == [True, None, False]


def test_missing_numbers_may_be_none_or_masked():
    assert normalize([1.5, None], F32).tolist()[0] == 1.5
    assert np.isnan(normalize([1.5, None], F32)[1])
    assert np.isnan(normalize(np.ma.MaskedArray([1.0, 2.0], [False, True]), F32)[1])
    assert missing_values(normalize([None, 3], ColumnSpec("n", "int32"))).tolist() == [True, False]


def test_strings_may_be_anything_with_a_str():
    spec = ColumnSpec("s", "str")
    column = MaskedColumn(["a", "b"], mask=[False, True])
    assert normalize(column, spec) == ["a", ""]
    assert normalize([587, None, b"x", np.str_("y")], spec) == ["587", "", "x", "y"]


@given(arrays("float32", (3, 4), elements=st.floats(width=32, allow_nan=True)))
def test_vectors_come_back_bit_by_bit(vectors):
    np.testing.assert_array_equal(back(vectors, ColumnSpec("v", "float32", shape=(4,))), vectors)


def test_a_vector_that_is_not_there_is_nan():
    spec = ColumnSpec("v", "float32", shape=(2,))
    values = normalize([[1.0, 2.0], None], spec)
    assert missing_values(values).tolist() == [False, True]
    assert values[0].tolist() == [1.0, 2.0]


def test_byte_order_does_not_matter():
    assert back(np.array([1.5, -2.0], dtype=">f4"), F32).tolist() == [1.5, -2.0]


def test_no_rows_keep_their_shape():
    assert normalize([], ColumnSpec("v", "float32", shape=(4,))).shape == (0, 4)
    assert normalize([], F32).dtype == np.float32


@pytest.mark.parametrize(
    ("values", "spec", "message"),
    [
        ([1.5], ColumnSpec("n", "int32"), "column n: .*float64.*int32"),
        (["1"], F32, "column x: "),
        ([[1.0, 2.0]], F32, r"column x: shape \(2,\) of a row, not \(\)"),
        (
            [[1.0, 2.0]],
            ColumnSpec("v", "float32", shape=(3,)),
            r"shape \(2,\) of a row, not \(3,\)",
        ),
    ],
)
def test_other_values_are_refused(values, spec, message):
    with pytest.raises(ValueError, match=message):
        normalize(values, spec)


@given(arrays("float32", 6, elements=st.floats(width=32, allow_nan=False)))
def test_digits_of_a_vector_are_enough(vector):
    digits = format_vector(vector, " ").split(" ")
    np.testing.assert_array_equal(np.array(digits, dtype=np.float32), vector)
