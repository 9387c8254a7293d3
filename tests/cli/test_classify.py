from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from inference_model import CLASSES
from synthetic import make_flux, make_header, make_rgb, write_fits, write_jpeg

import galmorph
from galmorph.flags import Flags
from galmorph.images.discover import discover_sources
from galmorph.inference import engine
from galmorph.inputs import open_inputs
from galmorph.settings import RunOptions
from galmorph.tables.journal import partial_path

ROOT = Path(__file__).resolve().parents[2]


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_goes_to_standard_output_and_the_summary_to_standard_error(run, cutouts):
    result = run("classify", cutouts)
    assert result.exit_code == 0
    rows = read_csv(result.stdout)
    assert [row["object_id"] for row in rows] == ["a", "b", "bad", "c", "d"]
    assert "classified 4 of 5 cutouts" in result.stderr
    assert "failed: 1" in result.stderr
    assert str(cutouts / "bad.jpg") in result.stderr
    assert "device: cpu" in result.stderr


def test_every_row_has_a_label_or_a_reason(run, cutouts):
    for row in read_csv(run("classify", cutouts).stdout):
        probabilities = [float(row[f"p_{name}"]) for name in CLASSES if row[f"p_{name}"]]
        if row["object_id"] == "bad":
            assert row["label"] == ""
            assert int(row["flags"]) & Flags.READ_FAILED
            assert "bad.jpg" in row["message"]
            assert not np.isfinite(probabilities).any()
        else:
            assert row["label"] == CLASSES[int(np.argmax(probabilities))]
            assert float(row["confidence"]) == max(probabilities)
            assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_the_command_gives_what_the_function_gives(run, cutouts, model_file, tmp_path):
    out = tmp_path / "t.fits"
    assert run("classify", cutouts, "-o", out, "--precision", "float32").exit_code == 0
    table = Table.read(out)
    expected = galmorph.classify(
        cutouts, head="test", model=model_file, device="cpu", precision="float32"
    )
    assert list(np.ma.filled(table["label"], "")) == list(expected["label"])
    for name in CLASSES:
        np.testing.assert_allclose(table[f"p_{name}"], expected[f"p_{name}"], atol=1e-6)
    assert table.colnames == expected.colnames


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits", ".vot", ".parquet", ".jsonl"])
def test_every_format_has_all_rows(run, cutouts, tmp_path, suffix):
    out = tmp_path / f"t{suffix}"
    result = run("classify", cutouts, "-o", out, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.output == ""
    if suffix == ".jsonl":
        count = len(out.read_text().splitlines())
    elif suffix == ".parquet":
        import pyarrow.parquet

        count = pyarrow.parquet.read_metadata(out).num_rows
    else:
        form = {".vot": "votable", ".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}.get(suffix)
        count = len(Table.read(out, format=form))
    assert count == 5
    assert not partial_path(out).exists()


def test_an_unknown_suffix_is_refused_before_the_model_is_loaded(run, cutouts, monkeypatch):
    monkeypatch.setattr("galmorph.pipeline.load_model", lambda _: pytest.fail("loaded"))
    result = run("classify", cutouts, "-o", "t.xlsx")
    assert result.exit_code == 2
    assert ".csv, .ecsv, .fits" in result.stderr
    assert "Traceback" not in result.output


def test_an_output_that_cannot_be_written_is_one_line(run, cutouts):
    result = run("classify", cutouts / "b.jpg", "-o", cutouts / "a.jpg" / "t.csv", "-q")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert "a.jpg/t.csv: cannot be written" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Give PATHs"),
        (("nowhere",), "nowhere: there is no such file or folder"),
        (("*.nothing",), "no file matches this pattern"),
        ((".", "--catalogue", "c.csv"), "Give PATHs, or --catalogue"),
        (("--catalogue", "c.csv"), "--path-column NAME"),
        ((".", "--path-column", "p"), "--path-column needs --catalogue"),
        ((".", "--mosaic", "m.fits"), "--mosaic needs --catalogue"),
        ((".", "--ra-column", "x"), "--ra-column needs --catalogue"),
        (("--catalogue", "c.csv", "--mosaic", "m.fits"), "--fov ARCSEC"),
        ((".", "--crop", "0.5", "--fov", "3"), "--crop or --fov"),
        ((".", "--crop", "wide"), "must be positive or auto, not 'wide'"),
        ((".", "--crop", "-1"), "must be positive"),
        ((".", "--crop", "180"), "not a number of pixels"),
        ((".", "--bands", "g,,z"), "not a list of different names"),
        ((".", "--center", "10", "95"), "declination"),
        (("a.fits", "-o", "./a.fits"), "a.fits is an input and the output"),
        ((".", "--resume"), "Only a file can be resumed"),
        ((".", "--stretch", "log"), "'log' is not one of"),
    ],
)
def test_usage_errors_are_one_clear_sentence(run, arguments, said):
    result = run("classify", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_an_unknown_head_names_those_there_are(run, cutouts):
    result = run("classify", cutouts, head="gz9")
    assert result.exit_code == 2
    assert "it has: test" in result.stderr


def test_an_unknown_model_is_a_usage_error(run, cutouts):
    result = run("classify", cutouts, "--model", "resnet")
    assert result.exit_code == 2
    assert "no model 'resnet'" in result.stderr


def test_a_device_that_is_not_there(run, cutouts):
    result = run("classify", cutouts, "--model", "not_loaded", "--device", "tpu")
    assert result.exit_code == 2
    assert "no device 'tpu'" in result.stderr


def test_strict_turns_failures_into_status_1(run, cutouts):
    assert run("classify", cutouts, "--strict").exit_code == 1
    (cutouts / "bad.jpg").unlink()
    assert run("classify", cutouts, "--strict").exit_code == 0


def test_status_3_where_nothing_could_be_read(run, cutouts, tmp_path):
    result = run("classify", cutouts / "bad.jpg")
    assert result.exit_code == 3
    assert len(read_csv(result.stdout)) == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run("classify", empty)
    assert result.exit_code == 3
    assert "no image was found" in result.stderr


def test_debug_shows_the_traceback(run):
    result = run("classify", "nowhere", "--debug")
    assert isinstance(result.exception, galmorph.errors.UnreadableImageError)


def test_no_recursive_stays_in_the_folder(run, cutouts):
    inner = cutouts / "inner"
    inner.mkdir()
    write_jpeg(inner / "e.jpg")
    assert len(read_csv(run("classify", cutouts).stdout)) == 6
    assert len(read_csv(run("classify", cutouts, "--no-recursive").stdout)) == 5


def test_fov_and_crop_change_the_field(run, cutouts):
    path = cutouts / "d.fits"
    by_crop = read_csv(run("classify", path, "--crop", "0.4").stdout)[0]
    by_fov = read_csv(run("classify", path, "--fov", 0.4 * 100 * 0.262).stdout)[0]
    assert float(by_crop["fov"]) == pytest.approx(0.4 * 100 * 0.262, rel=1e-3)
    assert float(by_fov["crop"]) == pytest.approx(0.4, rel=1e-3)
    assert float(by_fov["p_round"]) == pytest.approx(float(by_crop["p_round"]), abs=0.01)


def test_parts_share_the_cutouts(run, cutouts):
    parts = [
        [row["object_id"] for row in read_csv(run("classify", cutouts, "--part", part).stdout)]
        for part in ("1/3", "2/3", "3/3")
    ]
    assert parts == [["a", "c"], ["b", "d"], ["bad"]]


def test_a_part_without_cutouts_is_an_empty_table(run, cutouts, tmp_path):
    result = run("classify", cutouts, "--part", "6/6", "-o", tmp_path / "t.fits")
    assert result.exit_code == 0, result.stderr
    assert len(Table.read(tmp_path / "t.fits")) == 0


def test_the_result_is_no_input_of_its_own(run, cutouts):
    out = cutouts / "classes.fits"
    for options in ((), ("--resume",), ("--overwrite",)):
        result = run("classify", cutouts, "-o", out, *options)
        assert result.exit_code == 0, result.stderr
        assert list(Table.read(out)["object_id"]) == ["a", "b", "bad", "c", "d"]


def test_the_result_is_known_by_its_place_not_by_its_name(run, cutouts, tmp_path, monkeypatch):
    out, inner = cutouts / "classes.fits", cutouts / "inner"
    inner.mkdir()
    (inner / "classes.fits").write_bytes((cutouts / "d.fits").read_bytes())
    (tmp_path / "link").symlink_to(cutouts, target_is_directory=True)
    monkeypatch.chdir(cutouts)
    for _ in range(2):
        result = run("classify", tmp_path / "link", "-o", "classes.fits", "--overwrite")
        assert result.exit_code == 0, result.stderr
        rows = Table.read(out)
        assert list(rows["object_id"]) == ["a", "b", "bad", "c", "d", "classes"]
        assert rows["path"][-1].endswith("inner/classes.fits")


def test_neither_result_nor_partial_result_is_taken_by_a_glob(run, cutouts, tmp_path, monkeypatch):
    out = cutouts / "t.csv"
    arguments = ("classify", cutouts / "*", "-o", out, "--batch-size", 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert run(*arguments).exit_code == 130
    assert partial_path(out).exists()
    for options in (("--resume",), ("--overwrite",)):
        assert run(*arguments, *options).exit_code == 0
        ids = [row["object_id"] for row in read_csv(out.read_text())]
        assert ids == ["a", "b", "bad", "c", "d"]


def test_parts_and_counts_agree_on_what_is_passed_over(cutouts):
    out = cutouts / "aa.fits"
    out.write_bytes(b"an earlier result")
    listed = {}
    for part in ((1, 2), (2, 2), (1, 1)):
        inputs = open_inputs(RunOptions(str(cutouts), output=str(out), part=part))
        listed[part] = [source.object_id for source in inputs.list_sources()]
        assert listed[part] == [source.object_id for source in inputs.list_sources()]
    assert listed == {(1, 2): ["a", "bad", "d"], (2, 2): ["b", "c"], (1, 1): [*"ab", "bad", *"cd"]}


def test_a_result_among_the_files_of_a_galaxy_takes_no_galaxy_with_it(tmp_path):
    for name in ("all_classes.fits", "all_g.fits", "all_r.fits", "other_classes.fits"):
        (tmp_path / name).touch()
    options = RunOptions(
        str(tmp_path),
        output=str(tmp_path / "all_classes.fits"),
        bands_from_name="{id}_{band}.fits",
    )
    first, second = open_inputs(options).list_sources()
    bands = tuple((band, str(tmp_path / f"all_{band}.fits")) for band in "gr")
    assert tuple((band, file.path) for band, file in first.files) == bands
    assert first.address == bands[0][1]
    assert second.object_id == "other"
    (tmp_path / "all_g.fits").unlink()
    (tmp_path / "all_r.fits").unlink()
    assert [source.object_id for source in open_inputs(options).list_sources()] == ["other"]


def test_a_catalogue_may_name_the_file_that_the_result_replaces(run, cutouts, tmp_path):
    catalogue = tmp_path / "cat.csv"
    catalogue.write_text("file\ncutouts/a.jpg\ncutouts/out.fits\n")
    for _ in range(2):
        result = run(
            "classify",
            "--catalogue",
            catalogue,
            "--path-column",
            "file",
            "-o",
            cutouts / "out.fits",
            "--overwrite",
        )
        assert result.exit_code == 0, result.stderr
        table = Table.read(cutouts / "out.fits")
        assert list(table["object_id"]) == ["a", "out"]
        assert table["message"][1] and not table["message"][0]


def test_an_image_that_a_catalogue_names_is_not_replaced(run, cutouts, tmp_path):
    catalogue = tmp_path / "cat.csv"
    catalogue.write_text("file\ncutouts/d.fits\n")
    before = (cutouts / "d.fits").read_bytes()
    result = run(
        "classify", "--catalogue", catalogue, "--path-column", "file", "-o", cutouts / "d.fits"
    )
    assert result.exit_code == 2
    assert "it is not replaced" in result.stderr
    assert (cutouts / "d.fits").read_bytes() == before


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/"])
def test_a_part_that_there_is_not(run, cutouts, part):
    result = run("classify", cutouts, "--part", part)
    assert result.exit_code == 2
    assert "is not like 3/8" in result.stderr


def test_a_catalogue_is_carried_into_the_result(run, cutouts, tmp_path):
    catalogue = tmp_path / "cat.csv"
    catalogue.write_text(
        "name,file,ra,dec,z\nNGC 1,cutouts/b.jpg,150.5,2.25,0.01\nNGC 2,cutouts/d.fits,1,2,0.02\n"
    )
    result = run(
        "classify", "--catalogue", catalogue, "--path-column", "file", "--id-column", "name"
    )
    assert result.exit_code == 0, result.output
    rows = read_csv(result.stdout)
    assert [row["object_id"] for row in rows] == ["NGC 1", "NGC 2"]
    assert [float(row["z"]) for row in rows] == [0.01, 0.02]
    assert (float(rows[0]["ra"]), float(rows[0]["dec"])) == (150.5, 2.25)  # a JPEG has no WCS
    assert float(rows[1]["ra"]) != 1  # the WCS of the image knows better
    assert all(row["label"] for row in rows)


def write_shard(path, cutouts, **columns):
    """A Parquet file that holds a JPEG, with some columns."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    images = pa.array([(cutouts / "a.jpg").read_bytes()], pa.binary())
    pq.write_table(pa.table({"image": images, **columns}), path)
    return path


@pytest.mark.parametrize(
    ("columns", "position"),
    [
        ({"ra": [150.5], "dec": [2]}, (150.5, 2)),
        ({"ra": ["12:00:00"], "dec": ["+1:30:00"]}, (180, 1.5)),
        ({"ra": ["150.5"], "dec": ["unknown"]}, (150.5, np.nan)),
        ({"ra": [150.5], "decl": [2.25]}, (np.nan, np.nan)),
        ({"ra": [True], "dec": [2.25]}, (np.nan, 2.25)),
    ],
)
def test_a_parquet_shard_says_where_its_cutouts_are(
    run, cutouts, model_file, tmp_path, columns, position
):
    shard = write_shard(tmp_path / "shard.parquet", cutouts, **columns)
    result = run("classify", shard)
    assert result.exit_code == 0, result.output
    row = read_csv(result.stdout)[0]
    assert row["label"]
    by_command = [float(row[name] or "nan") for name in ("ra", "dec")]
    np.testing.assert_allclose(by_command, position)
    table = galmorph.classify(shard, head="test", model=model_file, device="cpu")
    np.testing.assert_array_equal([table["ra"][0], table["dec"][0]], by_command)


def test_one_file_per_band_by_path_columns(run, tmp_path):
    bands = ("g", "r", "z")
    flux = make_flux(bands, side=90)
    for band, plane in zip(bands, flux, strict=True):
        write_fits(tmp_path / f"x_{band}.fits", plane, SURVEY="LegacySurvey")
    (tmp_path / "whole").mkdir()
    write_fits(tmp_path / "whole" / "x.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    catalogue = tmp_path / "cat.csv"
    catalogue.write_text("id,a,b,c\n7,x_g.fits,x_r.fits,x_z.fits\n")
    columns = [word for name in "abc" for word in ("--path-column", name)]
    result = run("classify", "--catalogue", catalogue, *columns, "--bands", "g,r,z")
    assert result.exit_code == 0, result.output
    parts = read_csv(result.stdout)[0]
    pattern = run(
        "classify", *sorted(tmp_path.glob("x_*.fits")), "--bands-from-name", "{id}_{band}.fits"
    )
    joined = read_csv(pattern.stdout)[0]
    whole = read_csv(run("classify", tmp_path / "whole").stdout)[0]
    assert joined["object_id"] == "x"
    for row in (parts, joined):
        assert float(row["p_round"]) == pytest.approx(float(whole["p_round"]), abs=1e-6)


def test_a_mosaic_and_positions_give_what_the_cutouts_give(run, tmp_path):
    from astropy.wcs import WCS

    bands, side = ("g", "r", "z"), 400
    sky = np.zeros((3, side, side), dtype=np.float32)
    sky[:, 50:150, 50:150] = make_flux(bands, side=100, seed=1)
    sky[:, 230:330, 240:340] = make_flux(bands, side=100, seed=2)
    cards = {"BANDS": "grz", "SURVEY": "LegacySurvey"}
    mosaic = write_fits(tmp_path / "mosaic.fits", sky, **cards)
    wcs = WCS(make_header())
    # Row 0 of the array above is the top; FITS counts from the bottom.
    x, y = np.array([99.5, 289.5]), side - 1 - np.array([99.5, 279.5])
    ra, dec = wcs.pixel_to_world_values(x, y)
    catalogue = tmp_path / "cat.csv"
    catalogue.write_text(f"id,ra,dec\na,{ra[0]},{dec[0]}\nb,{ra[1]},{dec[1]}\nc,10,80\n")
    result = run(
        "classify", "--mosaic", mosaic, "--catalogue", catalogue, "--id-column", "id",
        "--fov", 100 * 0.262,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = read_csv(result.stdout)
    assert [row["object_id"] for row in rows] == ["a", "b", "c"]
    assert "outside the image" in rows[2]["message"]
    (tmp_path / "alone").mkdir()
    for row, box in zip(rows, (sky[:, 50:150, 50:150], sky[:, 230:330, 240:340]), strict=False):
        alone = write_fits(tmp_path / "alone" / f"{row['object_id']}.fits", box, **cards)
        expected = read_csv(run("classify", alone, "--crop", "1").stdout)[0]
        assert float(row["fov"]) == pytest.approx(100 * 0.262, rel=1e-3)
        assert float(row["p_round"]) == pytest.approx(float(expected["p_round"]), abs=0.02)


def test_positions_come_out_in_the_table(run, cutouts, tmp_path):
    header = make_header()
    row = read_csv(run("classify", cutouts / "d.fits").stdout)[0]
    assert float(row["ra"]) == pytest.approx(header["CRVAL1"], abs=0.01)
    assert float(row["dec"]) == pytest.approx(header["CRVAL2"], abs=0.01)


def test_provenance_says_how_the_result_was_made(run, cutouts, tmp_path):
    out = tmp_path / "t.ecsv"
    run("classify", cutouts, "-o", out, "--stretch", "lupton", "--crop", "0.5")
    meta = Table.read(out, format="ascii.ecsv").meta
    assert meta["model"] == "fused_fast"
    assert meta["rendering.stretch"] == "lupton"
    assert meta["field.crop"] == 0.5
    assert str(cutouts) in str(meta["inputs.paths"])


def test_the_row_says_what_was_done_to_the_pixels(run, tmp_path):
    flux = make_flux(("g", "r", "z"), side=100)
    flux[:, 50, 48:51] = np.nan
    path = write_fits(tmp_path / "a.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    row = read_csv(run("classify", path, "--crop", "0.5", "--stretch", "gzdecals").stdout)[0]
    done = dict(pair.split("=") for pair in row["treatment"].split("; "))
    assert done.pop("orientation")
    assert done == {
        "hdu": "0",
        "stretch": "gzdecals",
        "bands": "g,r,z",
        "unit": "assumed nanomaggy",
        "bad_pixels": "3",
    }
    assert (float(row["crop"]), float(row["fov"])) == pytest.approx((0.5, 50 * 0.262))
    assert int(row["flags"]) & (Flags.BAD_PIXELS_FILLED | Flags.UPSAMPLED) > Flags.UPSAMPLED
    assert all(np.isfinite(float(row[key])) for key in row if key.startswith("p_"))


def interrupt_after(monkeypatch, blocks):
    """Ctrl-C once so many blocks are done."""
    original = engine.run_inference

    def run_inference(*arguments, **settings):
        for done, block in enumerate(original(*arguments, **settings)):
            if done == blocks:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr("galmorph.pipeline.run_inference", run_inference)


def test_ctrl_c_keeps_the_rows_and_resume_goes_on(run, cutouts, tmp_path, monkeypatch):
    out, whole = tmp_path / "t.csv", tmp_path / "whole.csv"
    options = ("--batch-size", 1, "--precision", "float32")
    assert run("classify", cutouts, "-o", whole, *options).exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        result = run("classify", cutouts, "-o", out, *options)
    assert result.exit_code == 130
    assert "2 rows are kept" in result.stderr
    assert "--resume" in result.stderr
    assert not out.exists()
    result = run("classify", cutouts, "-o", out, *options, "--resume")
    assert result.exit_code == 0, result.output
    assert "2 rows were there" in result.stderr
    assert out.read_text() == whole.read_text()


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits", ".vot", ".parquet", ".jsonl"])
def test_strict_counts_the_failures_of_an_earlier_run(run, cutouts, tmp_path, monkeypatch, suffix):
    out = tmp_path / f"t{suffix}"
    arguments = ("classify", cutouts, "-o", out, "--batch-size", 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)  # bad.jpg is the third
        assert run(*arguments, "--strict").exit_code == 130
    result = run(*arguments, "--strict", "--resume")
    assert result.exit_code == 1
    assert "classified 2 of 2 cutouts" in result.stderr
    assert "3 rows were there from an earlier run, 1 of them failed" in result.stderr
    result = run(*arguments, "--strict", "--resume", "--quiet")
    assert result.exit_code == 1
    assert "nothing is left to do" in result.stderr
    assert "(5 rows), 1 of them failed" in result.stderr
    assert run(*arguments, "--resume").exit_code == 0


def test_a_resumed_table_without_a_usable_cutout_has_status_3(run, cutouts, tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / f"{number}.jpg").write_bytes((cutouts / "bad.jpg").read_bytes())
    out = tmp_path / "t.fits"
    arguments = ("classify", tmp_path / "bad", "-o", out, "--batch-size", 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert run(*arguments).exit_code == 130
    for _ in range(2):  # what is left, then the finished table
        result = run(*arguments, "--resume")
        assert result.exit_code == 3
        assert "not one cutout could be used" in result.stderr


def test_nothing_that_stands_there_is_replaced_unasked(run, cutouts, tmp_path, monkeypatch):
    out = tmp_path / "t.csv"
    arguments = ("classify", cutouts, "-o", out, "--batch-size", 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert run(*arguments).exit_code == 130
    left = partial_path(out).read_bytes()
    result = run(*arguments)
    assert result.exit_code == 2
    assert "an earlier run has left its rows" in result.stderr
    assert "--resume" in result.stderr and "--overwrite" in result.stderr
    assert partial_path(out).read_bytes() == left
    assert run(*arguments, "--overwrite").exit_code == 0
    done = out.read_bytes()
    result = run(*arguments, "--crop", "0.3")
    assert result.exit_code == 2
    assert "is there already; replace it with --overwrite" in result.stderr
    assert out.read_bytes() == done
    assert run(*arguments, "--overwrite", "--resume").exit_code == 2
    assert run(*arguments, "--overwrite", "--crop", "0.3").exit_code == 0
    assert out.read_bytes() != done


@pytest.mark.parametrize("spelled", ["./cutouts", "cutouts/", "././cutouts//"])
def test_one_input_has_one_name(run, cutouts, tmp_path, monkeypatch, spelled):
    monkeypatch.chdir(tmp_path)
    arguments = ("-o", "t.fits", "--batch-size", 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert run("classify", "cutouts", *arguments).exit_code == 130
    result = run("classify", spelled, *arguments, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "2 rows were there" in result.stderr
    assert set(Table.read("t.fits")["path"]) == {f"cutouts/{p.name}" for p in cutouts.iterdir()}


def test_embeddings_and_classes_in_one_pass(run, cutouts, model_file, tmp_path):
    out = tmp_path / "t.fits"
    result = run("classify", cutouts / "a.jpg", "-o", out, "--with-embedding")
    assert result.exit_code == 0, result.stderr
    row = Table.read(out)[0]
    expected = galmorph.embed(cutouts / "a.jpg", model=model_file, device="cpu")
    np.testing.assert_allclose(row["embedding"], expected[0], atol=1e-6)
    assert row["label"] in CLASSES
    result = run("classify", cutouts, "-o", tmp_path / "t.npy", "--with-embedding")
    assert result.exit_code == 2
    assert "npy holds embeddings only" in result.stderr


def test_provenance_tells_a_referee_and_nothing_of_the_machine(
    run, cutouts, tmp_path, monkeypatch, model_file
):
    import getpass
    import platform

    home = tmp_path / "home_of_somebody"
    cutouts.rename(home)
    monkeypatch.setenv("HOME", str(home))
    command = ["classify", str(home), "-o", "t.ecsv"]
    monkeypatch.chdir(home)
    assert run(*command).exit_code == 0
    meta = Table.read("t.ecsv", format="ascii.ecsv").meta
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", meta["date"])
    assert meta["command"].startswith("galmorph classify ~ -o t.ecsv --model ")
    assert meta["doi"].startswith("10.")
    assert len(meta["model_sha256"]) == 64
    said = json.dumps({key: str(value) for key, value in meta.items()})
    for secret in (str(home), f"/{getpass.getuser()}/", platform.node()):
        assert secret not in said


def test_the_summary_counts_what_is_unsure(run, cutouts):
    said = run("classify", cutouts).stderr
    shares = [
        float(row["confidence"] or "nan") for row in read_csv(run("classify", cutouts).stdout)
    ]
    unsure = sum(share < 0.5 for share in shares)
    assert unsure and f"unsure: {unsure}, " in said


def test_resume_refuses_other_options(run, cutouts, tmp_path, monkeypatch):
    out = tmp_path / "t.csv"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        run("classify", cutouts, "-o", out, "--batch-size", 1)
    result = run("classify", cutouts, "-o", out, "--resume", "--crop", "0.3")
    assert result.exit_code == 2
    assert "field.crop" in result.stderr
    assert partial_path(out).exists()


def test_resume_on_a_finished_table_leaves_it(run, cutouts, tmp_path, monkeypatch):
    for suffix in (".fits", ".csv"):
        out = tmp_path / f"t{suffix}"
        assert run("classify", cutouts, "-o", out).exit_code == 0
        before, stamp = out.read_bytes(), out.stat().st_mtime_ns
        with monkeypatch.context() as patch:
            patch.setattr(
                "galmorph.pipeline.run_inference", lambda *_, **__: pytest.fail("computed")
            )
            result = run("classify", cutouts, "-o", out, "--resume", "--quiet")
        assert result.exit_code == 0, result.output
        assert "nothing is left to do" in result.stderr
        assert "(5 rows)" in result.stderr
        assert ("neither weights nor options" in result.stderr) == (suffix == ".csv")
        assert (out.read_bytes(), out.stat().st_mtime_ns) == (before, stamp)


def test_resume_on_a_finished_table_of_another_run_is_refused(run, cutouts, tmp_path):
    out = tmp_path / "t.fits"
    run("classify", cutouts, "-o", out)
    before = out.read_bytes()
    for arguments, said in [
        (("--crop", "0.3"), 'field.crop: recorded "", now "0.3"'),
        (("--stretch", "lupton"), 'rendering.stretch: recorded "auto", now "lupton"'),
        (("--no-recursive",), 'recursive: recorded "true", now "false"'),
    ]:
        result = run("classify", cutouts, "-o", out, "--resume", *arguments)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "start anew with --overwrite" in result.stderr
    write_jpeg(cutouts / "e.jpg")
    result = run("classify", cutouts, "-o", out, "--resume")
    assert result.exit_code == 2
    assert "has 5 rows, but the inputs go on" in result.stderr
    assert out.read_bytes() == before


def test_resume_sees_a_changed_catalogue(run, cutouts, tmp_path):
    catalogue, out = tmp_path / "cat.csv", tmp_path / "t.fits"
    arguments = ("--catalogue", catalogue, "--path-column", "file", "-o", out)
    catalogue.write_text("file,z\ncutouts/a.jpg,0.1\n")
    assert run("classify", *arguments).exit_code == 0
    catalogue.write_text("file,z\ncutouts/a.jpg,0.2\n")
    result = run("classify", *arguments, "--resume")
    assert result.exit_code == 2
    assert "inputs.catalogue_sha256: recorded" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_real_ctrl_c_in_a_process_of_its_own(cutouts, model_file, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20_000):
        (folder / f"{number:05d}.jpg").hardlink_to(cutouts / "a.jpg")
    out = tmp_path / "t.csv"
    command = [sys.executable, "-m", "galmorph", "classify", str(folder), "-o", str(out)]
    command += ["--model", str(model_file), "--head", "test", "--device", "cpu"]
    command += ["--workers", "1", "--batch-size", "4"]
    # A shell lets what it starts in the background ignore SIGINT, and the tests may run there.
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, **heed)
    deadline = time.monotonic() + 60
    partial = partial_path(out)
    while not (partial.exists() and partial.read_bytes().count(b".jpg") > 8):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "rows are kept" in said
    assert "Traceback" not in said
    assert partial.read_bytes().count(b".jpg") < 20_000


def test_discovery_and_result_agree_in_order(run, cutouts):
    rows = read_csv(run("classify", cutouts, cutouts / "a.jpg").stdout)
    sources = discover_sources([cutouts, cutouts / "a.jpg"])
    assert [row["path"] for row in rows] == [source.address for source in sources]


@pytest.mark.parametrize("ending", ["csv", "fits", "ecsv", "vot"])
def test_a_result_is_a_catalogue_whatever_the_names(run, tmp_path, ending):
    """Line breaks in names survive from the folder into a table and back to the file."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for number, name in enumerate(["two\nlines.jpg", "galáxia 50%25.jpg", "plain.jpg"]):
        write_jpeg(folder / name, seed=number)
    first, second = tmp_path / f"first.{ending}", tmp_path / "second.csv"
    assert run("classify", folder, "-o", first).exit_code == 0
    again = run("classify", "--catalogue", first, "--path-column", "path", "-o", second)
    assert again.exit_code == 0
    assert "classified 3 of 3 cutouts" in again.stderr
    paths = {row["path"] for row in read_csv(second.read_text(encoding="utf-8"))}
    assert paths == {str(path) for path in folder.iterdir()}


def test_the_votable_of_a_run_is_valid(run, cutouts, tmp_path):
    from astropy.io.votable import validate

    out = tmp_path / "t.vot"
    assert run("classify", cutouts, "-o", out).exit_code == 0
    report = io.StringIO()
    assert validate(out, output=report), report.getvalue()
    assert "W06" not in report.getvalue()


def test_each_hdu_and_hdus_in_brackets_are_rows_of_their_own(run, tmp_path, model_file):
    path = tmp_path / "g.fits"
    stamps = [fits.ImageHDU(plane) for plane in make_flux(side=100)]
    fits.HDUList([fits.PrimaryHDU(), *stamps]).writeto(path)
    rows = read_csv(run("classify", path, "--hdu", "each").stdout)
    assert [row["object_id"] for row in rows] == ["g_1", "g_2", "g_3"]
    assert all(row["label"] for row in rows)
    (row,) = read_csv(run("classify", f"{path}[2]").stdout)
    assert row["label"] == rows[1]["label"] and row["path"] == rows[1]["path"]
    table = galmorph.classify(path, hdu="each", model=model_file, head="test", device="cpu")
    assert list(table["object_id"]) == ["g_1", "g_2", "g_3"]


def test_a_remark_on_the_header_stands_in_the_message(run, tmp_path):
    write_fits(tmp_path / "a.fits", make_flux(side=100)[0], A_ORDER=30000, B_ORDER=30000)
    header = fits.getheader(tmp_path / "a.fits")
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    fits.PrimaryHDU(make_flux(side=100)[0], header).writeto(tmp_path / "b.fits")
    first, second = read_csv(run("classify", tmp_path).stdout)
    assert first["message"] == "" and "message" not in first["treatment"]
    assert second["message"] == "SIP distortion of the order 30000 is not applied"
    assert second["label"] and "message" not in second["treatment"]


def test_one_row_per_object_and_band_are_joined_by_the_band_column(run, tmp_path):
    lines = ["object_id,filter,file,z"]
    for band, plane in zip("grz", make_flux(side=100), strict=True):  # not object by object
        for name in ("one", "two"):
            write_fits(tmp_path / f"{name}_{band}.fits", plane, SURVEY="LegacySurvey")
            lines.append(f"{name},{band},{name}_{band}.fits,0.1")
    (tmp_path / "long.csv").write_text("\n".join(lines))
    words = ("classify", "--catalogue", tmp_path / "long.csv", "--path-column", "file")
    rows = read_csv(run(*words, "--band-column", "filter").stdout)
    assert [row["object_id"] for row in rows] == ["one", "two"]
    assert [row["filter"] for row in rows] == ["g,r,z"] * 2
    assert all(row["label"] and row["z"] == "0.1" and "files=3" in row["treatment"] for row in rows)
    assert all("bands=g,r,z" in row["treatment"] for row in rows)
    (row, _) = read_csv(run(*words, "--band-column", "filter", "--bands", "r,g").stdout)
    assert row["message"] == "" and "files=2" in row["treatment"]
    refused = run(*words, "--band-column", "band")
    assert refused.exit_code == 2 and "the catalogue has filter" in refused.stderr
    twice = run(*words, "--path-column", "z", "--band-column", "filter")
    assert "needs one --path-column" in twice.stderr


def test_a_band_column_needs_identifiers(run, tmp_path):
    (tmp_path / "long.csv").write_text("filter,file\ng,a.fits\nr,b.fits\n")
    words = ("--catalogue", tmp_path / "long.csv", "--path-column", "file")
    refused = run("classify", *words, "--band-column", "filter")
    assert refused.exit_code == 2 and "give --id-column" in refused.stderr


def test_a_damaged_stack_is_the_flag_of_its_rows(run, tmp_path):
    stack = np.stack([make_rgb(64, seed=n) for n in range(3)])
    for name in ("good", "damaged", "last"):
        np.savez(tmp_path / f"{name}.npz", images=stack)
    data = bytearray((tmp_path / "damaged.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.npz").write_bytes(data)
    stacks = [tmp_path / f"{name}.npz" for name in ("good", "damaged", "last")]
    result = run("classify", *stacks, "-o", tmp_path / "t.csv", "-q")
    assert result.exit_code == 0, result.output
    rows = read_csv((tmp_path / "t.csv").read_text())
    assert [row["label"] != "" for row in rows] == [True] * 3 + [False] * 3 + [True] * 3
    assert {row["message"].partition(" or cut")[0] for row in rows[3:6]} == {
        f"{tmp_path}/damaged.npz::images[{n}]: the stack is damaged" for n in range(3)
    }
    again = run("classify", *stacks, "-o", tmp_path / "t.csv", "-q", "--resume")
    assert again.exit_code == 0, again.output


def test_an_image_folder_of_hugging_face(run, tmp_path):
    (tmp_path / "train" / "b").mkdir(parents=True)
    for name in ("0001.jpg", "b/0002.jpg"):
        write_jpeg(tmp_path / "train" / name)
    rows = [{"file_name": "0001.jpg", "RA": 150.5, "DEC": 2, "text": "a"}]
    rows.append({"file_name": "b/0002.jpg", "RA": 151.5, "DEC": -2, "text": "b"})
    table = tmp_path / "train" / "metadata.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = run("classify", "--catalogue", table)
    carried = [(r["object_id"], r["ra"], r["dec"], r["text"]) for r in read_csv(found.stdout)]
    assert carried == [("0001", "150.5", "2.0", "a"), ("0002", "151.5", "-2.0", "b")]
    beside = run("classify", tmp_path / "train")
    assert [(r["object_id"], r["ra"]) for r in read_csv(beside.stdout)] == [
        ("0001", "150.5"),
        ("0002", "151.5"),
    ]
    assert "passed over" not in beside.stderr


def test_a_section_in_brackets_costs_one_row(run, cutouts, tmp_path):
    write_fits(tmp_path / "x.fits", make_flux()[1])
    result = run("classify", cutouts / "a.jpg", f"{tmp_path}/x.fits[0][1:50,1:50]")
    rows = read_csv(result.stdout)
    assert result.exit_code == 0 and rows[0]["label"] and not rows[1]["label"]
    assert "x.fits[0][1:50,1:50]: [0][1:50,1:50] is a section" in rows[1]["message"]


def test_files_that_a_folder_holds_besides_are_counted(run, cutouts):
    (cutouts / "notes.txt").touch()
    assert "files passed over: .txt 1" in run("classify", cutouts).stderr


@pytest.mark.parametrize("more", [[], ["--quiet"]])
def test_a_run_without_an_image_says_once_what_was_there_and_shows_no_report(run, tmp_path, more):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").touch()
    result = run("classify", tmp_path / "in", "-o", tmp_path / "t.csv", *more)
    assert result.exit_code != 0 and "no image was found" in result.stderr
    assert result.stderr.count("files passed over: .txt 1") == 1
    assert "look at it" not in result.stderr


def test_a_run_confined_to_a_folder_reads_no_other(run, cutouts, tmp_path):
    (tmp_path / "list.csv").write_text(f"file\n{cutouts}/a.jpg\n{cutouts}/../list.csv\n")
    arguments = ("--catalogue", tmp_path / "list.csv", "--path-column", "file")
    rows = read_csv(run("classify", *arguments, "--within", cutouts).stdout)
    assert rows[0]["label"]
    assert "outside the folder of --within" in rows[1]["message"]


def test_a_table_is_sent_only_as_a_file_that_others_can_load(run, cutouts, tmp_path, monkeypatch):
    result = run("classify", cutouts, "--samp", "-o", tmp_path / "run.csv")
    assert result.exit_code == 2 and "--samp sends a file" in result.stderr
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'none').as_uri()}")
    result = run("classify", cutouts, "--samp", "-o", tmp_path / "run.fits")
    assert result.exit_code == 1 and "no SAMP hub answers on this machine" in result.stderr
    assert (tmp_path / "run.fits").exists()
