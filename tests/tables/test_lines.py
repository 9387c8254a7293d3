from __future__ import annotations

import csv
import io

from astropy.table.meta import get_header_from_yaml
from hypothesis import given
from hypothesis import strategies as st

from galmorph.tables import ColumnSpec
from galmorph.tables.formats.csv import make_header
from galmorph.tables.formats.text import join_rows

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1))
def test_rows_are_what_the_csv_module_reads(rows):
    text = join_rows(list(zip(*rows, strict=True)))
    assert list(csv.reader(io.StringIO(text, newline=""))) == [list(row) for row in rows]


def test_a_single_empty_cell_is_still_a_row():
    assert list(csv.reader(io.StringIO(join_rows([["", "a"]])))) == [[""], ["a"]]


META_VALUES = st.text() | st.integers(-(2**40), 2**40) | st.booleans()
META_VALUES |= st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(min_size=1, max_size=20), META_VALUES, max_size=4))
def test_the_header_is_yaml_that_astropy_reads(meta):
    try:
        str(meta).encode()
    except UnicodeEncodeError:
        return
    specs = [ColumnSpec("ra", "float64", "deg", "pos.eq.ra", 'é: "x" #')]
    header = get_header_from_yaml(make_header(specs, meta)[1:])
    assert header["datatype"][0] == {
        "name": "ra",
        "unit": "deg",
        "datatype": "float64",
        "description": 'é: "x" #',
        "meta": {"ucd": "pos.eq.ra"},
    }
    read = dict(header["meta"])
    assert "percent-encoded" in read.pop("strings")
    assert read == {key: value for key, value in meta.items() if key != "strings"}
