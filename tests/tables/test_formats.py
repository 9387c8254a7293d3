from __future__ import annotations

import importlib.util

import pytest

from galmorph.errors import MissingExtraError, TableFormatError
from galmorph.tables import ColumnSpec, check_format, open_writer
from galmorph.tables.formats import FORMATS, arrays, csv


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.csv", "CSV"),
        ("a.b.FITS", "FITS"),
        ("a.fit", "FITS"),
        ("a.vot", "VOTable"),
        ("a.xml", "VOTable"),
        ("a.jsonl", "JSON Lines"),
        ("-", "CSV"),
    ],
)
def test_the_suffix_decides(path, name):
    assert check_format(path).name == name


@pytest.mark.parametrize("path", ["a.txt", "a", "a.csv.gz", ".fits"])
def test_an_unknown_suffix_lists_those_there_are(path):
    with pytest.raises(TableFormatError, match=r"use one of .csv, .ecsv, .fits, .*\.jsonl") as info:
        check_format(path)
    assert ".npy" not in str(info.value)
    with pytest.raises(TableFormatError, match=r"\.npy, \.npz"):
        check_format(path, "embed")


@pytest.mark.parametrize("path", ["a.npy", "a.npz"])
def test_arrays_are_for_embeddings(path):
    assert check_format(path, "embed").name == path[2:]
    with pytest.raises(TableFormatError, match="holds embeddings only"):
        check_format(path, "classify")


def test_an_unknown_suffix_is_refused_before_any_file_is_made(tmp_path, specs):
    with pytest.raises(TableFormatError, match="no output format"):
        open_writer(tmp_path / "folder" / "out.doc", specs)
    assert not list(tmp_path.iterdir())


def test_parquet_names_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pyarrow is needed to write Parquet.*\[parquet\]"):
        check_format("a.parquet")


def test_fits_has_a_limit_of_columns(tmp_path):
    specs = [ColumnSpec(f"c{index}", "float32") for index in range(1000)]
    with pytest.raises(TableFormatError, match="at most 999 columns, not 1000"):
        open_writer(tmp_path / "out.fits", specs)


def test_npy_holds_one_vector():
    with pytest.raises(TableFormatError, match="exactly one vector"):
        arrays.NPY.check([ColumnSpec("a", "str")])
    arrays.NPY.check([ColumnSpec("a", "float32", shape=(2,))])


def test_csv_spreads_no_vector_over_a_column_that_is_there(tmp_path):
    flux = ColumnSpec("flux", "float32", shape=(3,))
    specs = [ColumnSpec("path", "str"), flux, ColumnSpec("flux_002", "float64")]
    with pytest.raises(TableFormatError, match="the vector flux over columns, of which flux_002"):
        open_writer(tmp_path / "out.csv", specs)
    assert not list(tmp_path.iterdir())
    csv.FORMAT.check([*specs[:2], ColumnSpec("flux_003", "float64")])


def test_no_suffix_means_two_formats():
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    assert len(suffixes) == len(set(suffixes)) == 16
