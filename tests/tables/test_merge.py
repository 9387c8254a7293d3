from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from galmorph.errors import CatalogueError
from galmorph.tables import build_table, merge_tables, open_writer
from tests.tables.table_cases import make_block

META = {"model": "toy", "model_sha256": "ab"}
FORMATS = ["csv", "ecsv", "fits", "vot", "jsonl", "parquet"]


def write(path, specs, start, stop, **meta):
    with open_writer(path, specs, {**META, **meta}) as writer:
        writer.append(make_block(start, stop))
    return path


def columns_of(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Table.read(path)


@pytest.mark.parametrize("form", FORMATS)
def test_parts_make_the_whole_table(form, tmp_path, specs):
    if form in ("vot", "parquet", "csv", "jsonl"):  # which hold these names as other ones
        pytest.importorskip("pyarrow")
    parts = [
        write(tmp_path / f"{k}.{form}", specs, *ends, night=k)
        for k, ends in enumerate([(0, 7), (7, 7), (7, 40)])
    ]
    assert merge_tables(parts, tmp_path / "all.fits") == {"rows": 40, "repeated": 0}
    whole = columns_of(write(tmp_path / "whole.fits", specs, 0, 40))
    merged = columns_of(tmp_path / "all.fits")
    for name in ("ra", "p_smooth", "flags", "n_votes", "label", "r_mag"):
        ours, theirs = (np.ma.filled(np.ma.asarray(t[name]), -9) for t in (merged, whole))
        if ours.dtype.kind == "f" and form == "jsonl":
            theirs = np.where(np.isinf(theirs), np.nan, theirs)
        np.testing.assert_array_equal(ours.astype(theirs.dtype), theirs, err_msg=name)


def test_provenance_of_all_is_kept(tmp_path, specs):
    parts = [write(tmp_path / f"{k}.fits", specs, 4 * k, 4 * k + 4, night=k) for k in range(2)]
    merge_tables(parts, tmp_path / "all.fits")
    assert json.loads(fits.getheader(tmp_path / "all.fits", 1)["GALMORPH"]) == {
        **META,
        "parts": [{"file": f"{k}.fits", "rows": 4, "night": k} for k in range(2)],
    }


def test_a_cutout_may_not_be_there_twice(tmp_path, specs):
    parts = [write(tmp_path / f"{k}.csv", specs, *ends) for k, ends in enumerate([(0, 7), (6, 9)])]
    with pytest.raises(CatalogueError, match=r"1\.csv: '/d/6:.* is there in an earlier row"):
        merge_tables(parts, tmp_path / "all.csv")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["0.csv", "1.csv"]


def test_other_columns_and_other_weights_are_refused(tmp_path, specs):
    first = write(tmp_path / "0.fits", specs, 0, 4)
    other = write(tmp_path / "1.fits", specs, 4, 8, model_sha256="cd")
    with pytest.raises(CatalogueError, match=r'1\.fits: is of another run: model_sha256.*"cd"'):
        merge_tables([first, other], tmp_path / "all.fits")
    with open_writer(tmp_path / "2.fits", specs[:-1], META) as writer:
        writer.append({s.name: make_block(8, 9)[s.name] for s in specs[:-1]})
    with pytest.raises(CatalogueError, match=r"2\.fits: has other columns than .*: r_mag"):
        merge_tables([first, tmp_path / "2.fits"], tmp_path / "all.fits")


@pytest.mark.parametrize("form", ["fits", "vot", "ecsv", "parquet"])
def test_a_table_in_memory_writes_all_that_it_knows(form, tmp_path, specs, block):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    table = build_table(specs, block, {"model": {"name": "a", "mean": [0.5]}})[["object_id", "ra"]]
    path = tmp_path / f"x.{form}"
    table.write(path)
    with pytest.raises(OSError, match="is there already; .*overwrite=True"):
        table.write(path)
    table.write(path, overwrite=True)
    from galmorph.tables.formats import open_reader

    reader = open_reader(path)
    assert [reader.specs[name] for name in table.colnames] == [
        s for s in specs if s.name in ("object_id", "ra")
    ]
    assert "model" in str(reader.provenance)


def test_a_table_prints_its_answer_first(specs, block):
    table = build_table(specs, block)
    assert table.colnames[:6] == [
        "object_id",
        "label",
        "confidence",
        "p_smooth",
        "p_spiral",
        "flags",
    ]
    assert table["p_smooth"][1] == block["p_smooth"][1]
    assert f"{block['p_smooth'][1]:.3f}" in str(table["p_smooth"])


def test_a_votable_and_a_fits_table_of_one_model_are_one_run(tmp_path, specs):
    same = {"class_names": ["round", "spiral"], "field": {"crop": None}}
    parts = [write(tmp_path / f"{k}.{form}", specs, 4 * k, 4 * k + 4, **same)
             for k, form in enumerate(("vot", "fits"))]  # fmt: skip
    assert merge_tables(parts, tmp_path / "all.fits")["rows"] == 8
