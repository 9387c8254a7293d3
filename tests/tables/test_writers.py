from __future__ import annotations

import csv
import io
import json
import logging
import math
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units
from astropy.table import QTable, Table
from astropy.utils.masked import Masked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galmorph.errors import OutputError, ResumeError, TableFormatError
from galmorph.tables import (
    ColumnSpec,
    build_table,
    open_writer,
    read_partial,
    result_columns,
    write_table,
)
from galmorph.tables.escape import readable
from galmorph.tables.journal import partial_path
from tests.tables.read_back import READERS
from tests.tables.table_cases import META, make_block

FORMATS = list(READERS)
LOSES_TRUTH = ("fits", "npz")  # a missing boolean reads as False there


def expected_strings(values, form):
    if form in ("ecsv", "fits", "npz"):
        return list(values)  # nothing is lost, not even bytes that are no UTF-8
    return [readable(value) for value in values]


def as_float(value):
    return math.nan if value in (None, "") else float(value)


def write(path, specs, parts, **options):
    with open_writer(path, specs, META, **options) as writer:
        for part in parts:
            writer.append(part)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_everything_comes_back(form, tmp_path, specs):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    block = make_block(0, 60)
    path = write(tmp_path / f"out.{form}", specs, [make_block(0, 25), make_block(25, 60)])
    read = READERS[form](path)
    assert list(read) == [spec.name for spec in specs] or form == "csv"
    for name in ("object_id", "path", "label", "message"):
        strings = [value or "" for value in read[name]]
        assert strings == expected_strings(block[name], form), name
    for spec in specs:
        if spec.is_float and not spec.shape:
            values = np.array([as_float(v) for v in read[spec.name]], dtype=spec.dtype)
            expected = block[spec.name].astype(spec.dtype)
            if form == "jsonl":  # JSON has no infinity
                expected = np.where(np.isinf(expected), np.nan, expected)
            np.testing.assert_array_equal(values, expected, err_msg=spec.name)
    vectors = [[as_float(value) for value in row] for row in read["embedding"]]
    np.testing.assert_array_equal(np.array(vectors, dtype=np.float32), block["embedding"])
    assert [int(value) for value in read["flags"]] == block["flags"].tolist()
    votes = [None if value in (None, "") else int(value) for value in read["n_votes"]]
    filled = block["n_votes"].filled(0) if form == "npz" else block["n_votes"]
    assert votes == filled.tolist()
    truth = {"True": True, "False": False, "": None}
    barred = [truth.get(value, value) for value in read["barred"]]
    gap = False if form in LOSES_TRUTH else None
    assert barred == [gap if value is None else value for value in block["barred"].tolist()]


@pytest.mark.parametrize("form", [*FORMATS, "npy"])
def test_blocks_make_no_difference(form, tmp_path, specs):
    one = write(tmp_path / f"one.{form}", specs, [make_block(0, 50)])
    many = write(tmp_path / f"many.{form}", specs, [make_block(i, i + 1) for i in range(50)])
    if form == "npz":  # a zip holds the time of writing
        with np.load(one) as first, np.load(many) as second:
            for name in first:
                np.testing.assert_array_equal(first[name], second[name])
    else:
        assert one.read_bytes() == many.read_bytes()


def test_npy_holds_the_embeddings_in_order(tmp_path, specs, block):
    path = write(tmp_path / "out.npy", specs, [block])
    np.testing.assert_array_equal(np.load(path), block["embedding"])


def test_npz_holds_provenance(tmp_path, specs, block):
    with np.load(write(tmp_path / "out.npz", specs, [block])) as arrays:
        assert json.loads(str(arrays["provenance"])) == META


@pytest.mark.parametrize("form", [*FORMATS, "npy"])
def test_no_rows_make_an_empty_table(form, tmp_path, specs):
    if form == "ecsv":  # astropy does not read a vector column without rows, not even its own
        specs = [spec for spec in specs if not spec.shape]
    path = write(tmp_path / f"out.{form}", specs, [])
    if form == "npy":
        assert np.load(path).shape == (0, 3)
    elif form == "jsonl":
        assert path.read_bytes() == b""
    elif form != "csv":
        assert set(map(len, READERS[form](path).values())) == {0}
    else:
        assert path.read_text().count("\n") == 1


def test_only_the_partial_stands_there_until_closing(tmp_path, specs, block):
    path = tmp_path / "new folder" / "out.fits"
    with open_writer(path, specs, META) as writer:
        writer.append(block)
        names = sorted(entry.name for entry in path.parent.iterdir())
        assert names == ["out.fits.partial", "out.fits.partial.owner"]
        partial = read_partial(partial_path(path))
        assert partial["object_id"].tolist() == block["object_id"]
        np.testing.assert_array_equal(partial["embedding"], block["embedding"])
    assert [entry.name for entry in path.parent.iterdir()] == ["out.fits"]


def test_an_exception_keeps_the_partial_and_the_earlier_result(tmp_path, specs, block):
    path = tmp_path / "out.csv"
    path.write_text("earlier\n")
    with pytest.raises(RuntimeError, match="boom"), open_writer(path, specs) as writer:
        writer.append(block)
        raise RuntimeError("boom")
    assert path.read_text() == "earlier\n"
    assert len(read_partial(partial_path(path))) == 40


def test_a_failure_while_finishing_keeps_the_rows(tmp_path, specs, block, monkeypatch):
    path = tmp_path / "out.fits"
    writer = open_writer(path, specs)
    writer.append(block)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("galmorph.tables.formats.fits._make_header", fail)
        with pytest.raises(OutputError, match=r"cannot be written \(No space left .*--resume"):
            writer.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.fits.partial"]
    with open_writer(path, specs, resume=True) as writer:
        assert writer.rows_done == 40
    assert len(READERS["fits"](path)["flags"]) == 40


def test_meta_may_change_until_the_end(tmp_path, specs, block):
    with open_writer(tmp_path / "out.npz", specs, {"a": 1}) as writer:
        writer.append(block)
        writer.meta["seconds"] = 2.5
    with np.load(tmp_path / "out.npz") as arrays:
        assert json.loads(str(arrays["provenance"])) == {"a": 1, "seconds": 2.5}


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_in_memory_gives_the_same_file(form, tmp_path, specs, block):
    table = build_table(specs, block)
    write_table(table, tmp_path / f"table.{form}")
    with open_writer(tmp_path / f"block.{form}", specs, {}) as writer:
        writer.append(block)
    if form != "npz":
        read = [(tmp_path / f"{name}.{form}").read_bytes() for name in ("table", "block")]
        assert read[0] == read[1]


def test_standard_output_gets_rows_at_once(specs, block, tmp_path, monkeypatch):
    stream = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=stream))
    with open_writer("-", specs, META) as writer:
        header = stream.getvalue()
        assert (
            header.startswith(b"object_id,label,confidence,p_smooth,") and header.count(b"\n") == 1
        )
        writer.append(block)
        sent = stream.getvalue()
        assert list(writer.skip_done(iter("ab"), key=str)) == ["a", "b"]
    write(tmp_path / "out.csv", specs, [block])
    assert sent == stream.getvalue() == (tmp_path / "out.csv").read_bytes()


def test_standard_output_cannot_be_resumed(specs):
    with pytest.raises(ResumeError, match="cannot be resumed; name a file with -o"):
        open_writer("-", specs, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flags": None}, r"lacks the columns \['flags'\]"),
        ({"extra": [1]}, r"has \['extra'\] more"),
        ({"flags": [1, 2]}, "differ in length: .*'flags': 2"),
        ({"flags": ["a"] * 40}, "column flags: "),
    ],
)
def test_a_block_that_does_not_fit_is_refused_and_adds_nothing(
    change, message, tmp_path, specs, block
):
    with open_writer(tmp_path / "out.csv", specs) as writer:
        wrong = {key: value for key, value in {**block, **change}.items() if value is not None}
        with pytest.raises(ValueError, match=message):
            writer.append(wrong)
        assert writer.rows_done == 0


def test_an_empty_block_adds_nothing(tmp_path, specs):
    with open_writer(tmp_path / "out.csv", specs) as writer:
        writer.append({spec.name: [] for spec in specs})
        assert writer.rows_done == 0


def test_starting_anew_says_that_a_partial_result_goes(tmp_path, specs, block, caplog):
    path = tmp_path / "out.csv"
    writer = open_writer(path, specs)
    writer.append(block)
    writer.abandon()
    caplog.set_level(logging.WARNING, logger="galmorph.tables")
    with open_writer(path, specs) as writer:
        assert writer.rows_done == 0
    assert "partial result of an earlier run is replaced" in caplog.text


def test_a_folder_is_no_output(tmp_path, specs):
    (tmp_path / "out.fits").mkdir()
    with pytest.raises(TableFormatError, match="is a folder"):
        open_writer(tmp_path / "out.fits", specs)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["file/out.csv", "file/deeper/out.csv", f"{'x' * 300}.csv"])
def test_a_place_that_cannot_be_written_is_one_clear_error(name, resume, tmp_path, specs):
    (tmp_path / "file").write_text("not a folder")
    said = rf"{re.escape(name)}: cannot be written \(.+\); name a file in a folder"
    with pytest.raises(OutputError, match=said):
        open_writer(tmp_path / name, specs, resume=resume)


def test_a_folder_without_permission_is_one_clear_error(tmp_path, specs, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(OutputError, match=r"out\.csv: cannot be written \(Permission denied\)"):
        open_writer(tmp_path / "new" / "out.csv", specs)


def test_a_disk_that_fills_up_keeps_the_rows_for_resuming(tmp_path, specs):
    resource = pytest.importorskip("resource")  # a limit of file size is as good as a full disk
    path, limits = tmp_path / "out.csv", resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(OutputError) as info, open_writer(path, specs, META) as writer:
        writer.append(make_block(0, 20))
        size = partial_path(path).stat().st_size
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, limits[1]))
            writer.append(make_block(20, 400))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = (
        rf"out\.csv: cannot be written \(File too large\); .*{re.escape(str(partial_path(path)))}"
    )
    assert re.search(said, str(info.value))
    assert "--resume" in str(info.value)
    with open_writer(path, specs, META, resume=True) as writer:
        assert 20 <= writer.rows_done < 400
        writer.append(make_block(writer.rows_done, 400))
    whole = write(tmp_path / "whole.csv", specs, [make_block(0, 400)])
    assert path.read_bytes() == whole.read_bytes()


def test_a_disk_that_stays_full_hides_no_error(tmp_path, specs):
    resource = pytest.importorskip("resource")
    path, limits = tmp_path / "out.csv", resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OutputError, match="File too large"), open_writer(path, specs) as writer:
            size = partial_path(path).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            writer.append(make_block(0, 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_closing_twice_is_harmless(tmp_path, specs):
    writer = open_writer(tmp_path / "out.csv", specs)
    writer.close()
    writer.close()
    writer.abandon()
    assert (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("form", ["csv", "fits", "vot", "jsonl", "npz"])
def test_one_column_of_strings_can_be_empty(form, tmp_path):
    specs = (ColumnSpec("s", "str"),)
    if form == "npz":
        specs = (*specs, ColumnSpec("v", "float32", shape=(1,)))
    with open_writer(tmp_path / f"out.{form}", specs) as writer:
        writer.append({"s": ["", ""], "v": np.zeros((2, 1))} if form == "npz" else {"s": ["", ""]})
        assert writer.rows_done == 2
    assert (tmp_path / f"out.{form}").stat().st_size > 0


def test_long_vectors_pass_the_limit_of_the_csv_module(tmp_path):
    specs = result_columns(embedding_dim=40_000, atypicality=False)
    vector = np.random.default_rng(0).random((1, 40_000), dtype=np.float32)
    row = {spec.name: [""] if spec.is_text else [0] for spec in specs} | {"embedding": vector}
    with open_writer(tmp_path / "out.npy", specs) as writer:
        writer.append(row)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), vector)


ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@pytest.mark.parametrize("form", ["csv", "ecsv", "fits", "jsonl", "parquet", "npz"])
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(ANY_TEXT, min_size=1, max_size=8))
def test_any_name_survives(form, names, tmp_path):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    specs = result_columns(embedding_dim=3, atypicality=False)
    empty = [""] * len(names)
    block = {spec.name: empty if spec.is_text else np.zeros(len(names)) for spec in specs}
    block |= {"object_id": names, "flags": [0] * len(names)}
    block["embedding"] = np.zeros((len(names), 3))
    path = write(tmp_path / f"out.{form}", specs, [block])
    assert [name or "" for name in READERS[form](path)["object_id"]] == names


@pytest.mark.parametrize("form", ["ecsv", "fits", "vot"])
def test_a_qtable_in_memory_keeps_its_units(form, tmp_path):
    table = QTable({"flux": [1.5, 2.5] * units.uJy, "name": ["a", "b"]})
    table["size"] = Masked([3.0, 4.0] * units.arcsec, mask=[False, True])
    write_table(table, tmp_path / f"out.{form}")
    back = Table.read(tmp_path / f"out.{form}")
    assert (str(back["flux"].unit), str(back["size"].unit)) == ("uJy", "arcsec")
    assert list(back["flux"]) == [1.5, 2.5] and list(back["name"]) == ["a", "b"]
    sizes = np.ma.filled(np.ma.asarray(back["size"]), np.nan)
    assert sizes[0] == 3 and np.isnan(sizes[1])


def test_astropy_reads_parquet_without_a_warning(tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas", reason="astropy reads Parquet with pandas")
    table = Table({"name": ["a", "długa nazwa"], "empty": ["", ""], "n": [1, 2]})
    write_table(table, tmp_path / "out.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = Table.read(tmp_path / "out.parquet")
    assert list(back["name"]) == ["a", "długa nazwa"] and list(back["empty"]) == ["", ""]


@pytest.mark.parametrize("stream", [True, False])
def test_cells_that_spreadsheets_run_are_made_harmless_on_request(stream, tmp_path, monkeypatch):
    names = ["=1+2", "+a", "-b", "@c", "\td", "e=f", "'g", ""]
    specs = (ColumnSpec("object_id", "str"), ColumnSpec("path", "str"), ColumnSpec("x", "float64"))
    block = {"object_id": names, "path": names, "x": np.full(8, -1.5)}
    sent, path = io.BytesIO(), tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", SimpleNamespace(buffer=sent))
        with open_writer("-" if stream else path, specs, csv_safe=True) as writer:
            writer.append(block)
    text = sent.getvalue().decode() if stream else path.read_bytes().decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    safe = ["'=1+2", "'+a", "'-b", "'@c", "'\td", "e=f", "'g", ""]
    assert rows == [[name, name, "-1.5"] for name in safe]
    if not stream:  # and the run knows its own table again
        with open_writer(path, specs, csv_safe=True, resume=True) as writer:
            assert list(writer.skip_done(names, key=lambda name: (name, name))) == []


def test_formulas_are_data_in_a_table_for_machines(tmp_path):
    specs = (ColumnSpec("s", "str"),)
    for form, safe in (("csv", False), ("ecsv", True), ("fits", True)):
        with open_writer(tmp_path / f"out.{form}", specs, csv_safe=safe) as writer:
            writer.append({"s": ["=1+2"]})
        assert Table.read(tmp_path / f"out.{form}")["s"].tolist() in (["=1+2"], [b"=1+2"])
