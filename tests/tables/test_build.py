from __future__ import annotations

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from galmorph.errors import TableFormatError
from galmorph.tables import ColumnSpec, build_table
from galmorph.tables.formats.base import column_spec, table_specs
from tests.tables.table_cases import META


def test_the_table_says_what_its_columns_are(specs, block):
    table = build_table(specs, block, META)
    assert table.colnames == [spec.name for spec in specs]
    assert table_specs(table) == specs
    assert str(table["ra"].unit) == "deg"
    assert table["ra"].meta["ucd"] == "pos.eq.ra;meta.main"
    assert table["object_id"].dtype.kind == "U"
    assert table["p_smooth"].dtype == np.float32
    assert table["embedding"].shape == (40, 3)


def test_rows_without_a_label_are_empty_and_nan(specs, block):
    table = build_table(specs, block)
    nothing = table["label"] == ""
    assert nothing.sum() == 8
    assert np.isnan(table["confidence"][nothing]).all()
    assert not isinstance(table["label"], MaskedColumn)
    assert type(nothing) is np.ndarray


def test_missing_whole_numbers_are_masked(specs, block):
    table = build_table(specs, block)
    assert table["n_votes"].mask.tolist() == (np.arange(40) % 4 == 1).tolist()
    assert table["n_votes"][0] == 0


def test_provenance_is_nested(specs, block):
    meta = build_table(specs, block, META).meta
    assert meta["model"]["name"] == "wei2022"
    assert meta["model"]["mean"] == [0.5, 0.25]


def test_an_empty_result_has_all_columns(specs):
    table = build_table(specs, {spec.name: [] for spec in specs})
    assert len(table) == 0
    assert table.colnames == [spec.name for spec in specs]
    assert table["embedding"].shape == (0, 3)


def test_an_absent_column_is_named(specs, block):
    del block["flags"]
    with pytest.raises(ValueError, match=r"columns \['flags'\] are absent"):
        build_table(specs, block)


def test_columns_that_no_file_can_hold_are_refused():
    assert column_spec(Table({"c": [1j]})["c"]) is None
    assert column_spec(Table({"u": np.array([1], "u2")})["u"]) == ColumnSpec("u", "int32")
    with pytest.raises(ValueError, match=r"\['c'\] are of types that no output can hold"):
        table_specs(Table({"c": [1j]}))


def test_columns_of_a_qtable():
    table = QTable({"flux": [1.0, 2.0] * units.uJy, "n": [1, 2]})
    table["flux"].info.description = "Flux"
    table["flux"].info.meta = {"ucd": "phot.flux"}
    assert table_specs(table) == (
        ColumnSpec("flux", "float64", "uJy", "phot.flux", "Flux"),
        ColumnSpec("n", "int64"),
    )


@pytest.mark.parametrize(
    "column", [SkyCoord([1, 2], [3, 4], unit="deg"), Time(["2020-01-01", "2020-01-02"])]
)
def test_columns_that_are_no_numbers_are_named(column):
    with pytest.raises(
        TableFormatError, match=r"the columns \['c'\] are of types .* leave them out"
    ):
        table_specs(QTable({"c": column, "n": [1, 2]}))
