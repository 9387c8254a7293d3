from __future__ import annotations

import pytest
from astropy import units
from astropy.io.votable.ucd import check_ucd

from galmorph.tables import ColumnSpec, result_columns
from galmorph.tables.columns import class_columns, nearest_dtype, probability_name


def test_order_of_a_classification():
    specs = result_columns(
        class_columns(["smooth", "Edge-on disk"]), carried=[ColumnSpec("z", "float64")]
    )
    assert [spec.name for spec in specs] == [
        "object_id",
        "label",
        "confidence",
        "p_smooth",
        "p_edge_on_disk",
        "flags",
        "path",
        "ra",
        "dec",
        "atypicality",
        "message",
        "z",
    ]
    kinds = {spec.name: spec.kind for spec in specs}
    assert kinds["ra"] == "float64"
    assert kinds["p_smooth"] == "float32"
    assert kinds["flags"] == "int32"
    assert kinds["message"] == "str"


def test_embeddings_alone_have_no_label_and_a_vector():
    specs = result_columns(embedding_dim=512, atypicality=False)
    names = [spec.name for spec in specs]
    assert "label" not in names and "confidence" not in names
    assert specs[names.index("embedding")].shape == (512,)


def test_every_ucd_and_unit_is_one_that_the_vo_knows():
    for spec in result_columns(class_columns(["smooth"]), embedding_dim=8):
        assert spec.ucd, spec.name
        assert check_ucd(spec.ucd, check_controlled_vocabulary=True), (spec.name, spec.ucd)
        assert spec.description
        units.Unit(spec.unit, format="vounit")


def test_every_result_column_has_its_meaning():
    ucds = {spec.name: spec.ucd for spec in result_columns(class_columns(["smooth"]))}
    assert ucds["object_id"] == "meta.id;meta.main"
    assert ucds["ra"] == "pos.eq.ra;meta.main"
    assert ucds["dec"] == "pos.eq.dec;meta.main"
    assert ucds["confidence"] == "stat.probability"
    assert ucds["flags"] == "meta.code.qual"


@pytest.mark.parametrize("name", ["LABEL", "p_smooth", "flags"])
def test_a_name_comes_once_whatever_its_case(name):
    with pytest.raises(ValueError, match=f"two columns are named '{name}'"):
        result_columns(class_columns(["smooth"]), carried=[ColumnSpec(name, "str")])


@pytest.mark.parametrize("name", ["mag\n(AB)", "a\rb", "tab\t", "next\x85line"])
def test_a_name_is_one_line(name):
    with pytest.raises(ValueError, match="name of a column holds a control character: '"):
        result_columns(carried=[ColumnSpec(name, "str")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "str"), "needs a name"),
        (("x", "complex64"), "dtype 'complex64'"),
        (("x", "str", "", "", "", (3,)), "only vectors of numbers"),
        (("x", "float32", "", "", "", (3, 3)), "only vectors of numbers"),
        (("x", "float32", "", "", "", (0,)), "only vectors of numbers"),
    ],
)
def test_a_column_checks_itself(arguments, message):
    with pytest.raises(ValueError, match=message):
        ColumnSpec(*arguments)


@pytest.mark.parametrize(
    ("name", "column"),
    [("smooth", "p_smooth"), ("Sb/c (barred)", "p_sb_c_barred"), ("café", "p_caf")],
)
def test_probability_names_need_no_quotes(name, column):
    assert probability_name(name) == column


def test_types_of_catalogues_are_widened_never_narrowed():
    assert nearest_dtype("uint8") == "int16"
    assert nearest_dtype("uint32") == "int64"
    assert nearest_dtype("uint64") == "str"
    assert nearest_dtype("complex128") == "complex128"
