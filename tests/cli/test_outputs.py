"""Where the result goes: what it must not replace, and what else can be in its way."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from synthetic import make_flux, write_fits

from galmorph.cli.run import _stopping_on_sigterm
from galmorph.tables.journal import partial_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("link", [False, True])
def test_the_catalogue_is_not_replaced(run, cutouts, tmp_path, link):
    catalogue = tmp_path / "cat.csv"
    catalogue.write_text("file\ncutouts/a.jpg\n")
    output = catalogue
    if link:
        output = tmp_path / "link.csv"
        output.symlink_to(catalogue)
    result = run("classify", "--catalogue", catalogue, "--path-column", "file", "-o", output)
    assert result.exit_code == 2
    assert f"{output} is the catalogue and the output; name another file" in result.stderr
    assert catalogue.read_text() == "file\ncutouts/a.jpg\n"


def test_no_mosaic_is_replaced(run, tmp_path):
    mosaics = [tmp_path / f"{band}.fits" for band in "gr"]
    for mosaic in mosaics:
        write_fits(mosaic, make_flux(("g",), side=100))
    before = mosaics[1].read_bytes()
    catalogue = tmp_path / "cat.csv"
    catalogue.write_text("ra,dec\n150,2\n")
    arguments = ["--catalogue", catalogue, "--fov", 10, "--bands", "g,r", "-o", mosaics[1]]
    result = run("classify", *arguments, "--mosaic", mosaics[0], "--mosaic", mosaics[1])
    assert result.exit_code == 2
    assert f"{mosaics[1]} is the mosaic and the output" in result.stderr
    assert mosaics[1].read_bytes() == before


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits", ".vot", ".parquet"])
def test_a_line_break_in_a_name_loses_no_row(run, cutouts, tmp_path, suffix):
    """A spreadsheet allows it in the cells of its header."""
    catalogue, out = tmp_path / "cat.csv", tmp_path / f"t{suffix}"
    catalogue.write_text('file,"mag\n(AB)",mag (ab)\ncutouts/a.jpg,17.5,1\ncutouts/b.jpg,18,2\n')
    result = run("classify", "--catalogue", catalogue, "--path-column", "file", "-o", out)
    assert result.exit_code == 0, result.stderr
    if suffix == ".parquet":
        from pyarrow import parquet

        columns = parquet.read_table(out).to_pydict()
    else:
        columns = Table.read(out)
    names = ["mag__AB_", "mag__ab__catalogue"] if suffix == ".vot" else list(columns.keys())[-2:]
    assert suffix == ".vot" or names == ["mag (AB)", "mag (ab)_catalogue"]
    assert [list(columns[name]) for name in names] == [[17.5, 18], [1, 2]]
    if suffix in (".csv", ".ecsv"):
        text = out.read_text()
        assert len(list(csv.reader(text[text.index("object_id,") :].splitlines()))) == 3


def test_provenance_with_quotes_and_slashes_comes_back_from_fits(run, cutouts, tmp_path):
    folder = tmp_path / "O'Neill's'" / "x"
    folder.mkdir(parents=True)
    (cutouts / "a.jpg").rename(folder / "a.jpg")
    out = tmp_path / "t.fits"
    assert run("classify", folder, "-o", out).exit_code == 0
    provenance = json.loads(fits.getheader(out, 1)["GALMORPH"])
    assert provenance["inputs"]["paths"] == [str(folder)]
    result = run("classify", folder, "-o", out, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "nothing is left to do" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_standard_output_is_one_line(cutouts, model_file):
    command = [sys.executable, "-m", "galmorph", "classify", str(cutouts / "a.jpg"), "--quiet"]
    command += ["--model", str(model_file), "--head", "test", "--device", "cpu"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert done.returncode == 1
    assert done.stderr == ("Error: standard output: cannot be written (No space left on device)\n")


def test_embeddings_from_embeddings_have_each_name_once(run, cutouts, tmp_path):
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert run("embed", cutouts / "a.jpg", "-o", first).exit_code == 0
    result = run("embed", "--catalogue", first, "--path-column", "path", "-o", second)
    assert result.exit_code == 0, result.stderr
    header = second.read_text().partition("\n")[0].split(",")
    assert len(header) == len(set(header))
    assert {"e_000", "e_000_catalogue", "e_511_catalogue"} <= set(header)


def test_a_column_named_provenance_is_kept_in_npz(run, cutouts, tmp_path):
    catalogue, out = tmp_path / "cat.csv", tmp_path / "e.npz"
    catalogue.write_text("file,provenance\ncutouts/a.jpg,DR10\n")
    result = run("embed", "--catalogue", catalogue, "--path-column", "file", "-o", out)
    assert result.exit_code == 0, result.stderr
    with np.load(out) as arrays:
        assert arrays["provenance_catalogue"].tolist() == ["DR10"]
        assert "inputs" in json.loads(str(arrays["provenance"]))


def test_resume_goes_on_after_an_update_of_onnxruntime(run, cutouts, tmp_path, monkeypatch):
    arguments = ("classify", cutouts / "a.jpg", "-o", tmp_path / "t.fits")
    for version, more in [("1.20", ()), ("1.21", ("--resume",))]:
        versions = {"onnxruntime": version}
        monkeypatch.setattr("galmorph.inference.results.list_versions", lambda _, v=versions: v)
        result = run(*arguments, *more)
        assert result.exit_code == 0, result.stderr
    assert "nothing is left to do" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_keeps_the_rows_and_leaves_no_unpacked_mosaic(model_file, tmp_path):
    mosaic = write_fits(tmp_path / "m.fits", make_flux(("g", "r", "z"), side=100), BANDS="grz")
    packed, catalogue, out = tmp_path / "m.fits.gz", tmp_path / "cat.csv", tmp_path / "t.csv"
    packed.write_bytes(gzip.compress(mosaic.read_bytes()))
    catalogue.write_text("ra,dec\n" + "150.1,2.2\n" * 3000)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "galmorph", "classify", "--catalogue", str(catalogue)]
    command += ["--mosaic", str(packed), "--fov", "10", "-o", str(out), "--device", "cpu"]
    command += ["--model", str(model_file), "--head", "test", "--workers", "1", "--batch-size", "4"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    deadline, partial = time.monotonic() + 60, partial_path(out)
    while not (partial.exists() and partial.read_bytes().count(b"m.fits") > 8):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list(temporary.glob("galmorph_*/mosaic.fits"))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "rows are kept" in said
    assert "Traceback" not in said
    assert not list(temporary.glob("galmorph_*"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_before_the_first_row(run, cutouts, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def open_late(_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr("galmorph.cli.run.open_inputs", open_late)
    result = run("classify", cutouts, "-o", tmp_path / "t.csv")
    assert result.exit_code == 143
    assert result.stderr == "Interrupted.\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_signals_as_they_are():
    seen = []

    def look():
        with _stopping_on_sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
