"""Options that do not go together, and inputs that an output would destroy."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_flux, write_fits

from galmorph.errors import OptionError
from galmorph.settings import RunOptions


def test_a_stack_that_is_read_is_not_replaced(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), dtype=np.uint8)
    for name in ("one.npz", "two.npz"):
        np.savez(name, images=images)
    before = Path("two.npz").read_bytes()
    for inputs in (
        ["two.npz"],
        ["two.npz::images"],
        ["one.npz", "./two.npz::images"],
        ["two.npz[1]"],
    ):
        result = run("embed", *inputs, "-o", "two.npz")
        assert result.exit_code == 2
        assert "two.npz is an input and the output" in result.stderr
    assert Path("two.npz").read_bytes() == before


def test_the_result_of_before_among_images_is_passed_over(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flux = make_flux(("g", "r", "z"), side=80)
    write_fits(tmp_path / "a.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    assert run("classify", "a.fits", "-o", "r.fits").exit_code == 0
    result = run("classify", "a.fits", "r.fits", "-o", "r.fits", "--overwrite")
    assert result.exit_code == 0, result.output
    assert "classified 1 of 1" in result.stderr


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path_column": ("p",), "bands_from_name": "{id}_{band}.fits"}, "one --path-column per"),
        ({"mosaic": ("m.fits",), "fov": 3.0, "center": (1.0, 2.0)}, "--mosaic or --center"),
    ],
)
def test_options_that_would_be_ignored_are_refused(given, said):
    with pytest.raises(OptionError, match=said):
        RunOptions(catalogue="c.csv", **given)


def test_a_result_is_a_catalogue_with_its_identifiers(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flux = make_flux(("g", "r", "z"), side=80)
    write_fits(tmp_path / "a.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    Path("c.csv").write_text("object_id,path\nNGC 7,a.fits\n")
    rows = read_csv(run("classify", "--catalogue", "c.csv", "--path-column", "path").stdout)
    assert [(row["object_id"], row["path"]) for row in rows] == [("NGC 7", "a.fits")]


def test_a_pattern_that_joins_nothing_is_refused(run, tmp_path):
    flux = make_flux(("g", "r", "z"), side=80)
    for band, plane in zip("grz", flux, strict=True):
        write_fits(tmp_path / f"a_{band}.fits", plane, SURVEY="LegacySurvey")
    result = run("classify", tmp_path, "--bands-from-name", "{id}-{band}.fits")
    assert result.exit_code == 2
    assert "no file matches the pattern" in result.stderr
    assert "the first is" in result.stderr and "a_g.fits" in result.stderr
    joined = run("classify", tmp_path, "--bands-from-name", "{id}_{band}.fits")
    assert "classified 1 of 1" in joined.stderr


def test_a_quiet_run_without_a_usable_cutout_says_why(run, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    result = run("classify", tmp_path, "-q", "-o", tmp_path / "t.csv")
    assert result.exit_code == 3
    assert "not one cutout could be used, the first: " in result.stderr
    assert "a.jpg" in result.stderr


def test_a_row_without_an_identifier_has_that_of_its_file(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flux = make_flux(("g", "r", "z"), side=80)
    write_fits(tmp_path / "a.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    Path("c.csv").write_text("object_id,path\n,a.fits\n")
    result = run("classify", "--catalogue", "c.csv", "--path-column", "path")
    rows = read_csv(result.stdout)
    assert [(row["object_id"], row["path"]) for row in rows] == [("a", "a.fits")]


@pytest.mark.parametrize("name", ["cubes.npy", "cubes.npz", "cubes.h5"])
def test_messages_speak_the_language_of_the_command_line(run, tmp_path, monkeypatch, name):
    """And not that of Python."""
    monkeypatch.chdir(tmp_path)
    cubes = np.random.default_rng(0).normal(0, 1, (2, 3, 64, 64)).astype("f4")
    if name.endswith("npy"):
        np.save(name, cubes)
    elif name.endswith("npz"):
        np.savez(name, cubes=cubes)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(name, "w") as file:
            file["cubes"] = cubes
    said = run("classify", name).output
    assert "--bands g,r,z" in said
    assert "bands=" not in said and "(band, y, x)" not in said
    assert (
        "classified 2 of 2" in run("classify", name, "--bands", "grz", "--stretch", "lupton").stderr
    )
