from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image
from synthetic import make_flux, write_fits

import galmorph
from galmorph.errors import GalmorphWarning


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".fits", ".parquet"])
def test_embeddings_come_out_in_order_and_complete(run, cutouts, model_file, tmp_path, suffix):
    out = tmp_path / f"e{suffix}"
    result = run("embed", cutouts, "-o", out, "--precision", "float32")
    assert result.exit_code == 0, result.output
    assert "embedded 4 of 5 cutouts" in result.stderr
    with pytest.warns(GalmorphWarning, match="1 of 5 cutouts have no embedding"):
        expected = galmorph.embed(cutouts, model=model_file, device="cpu", precision="float32")
    if suffix == ".npz":
        with np.load(out) as file:
            found = file["embedding"]
            assert list(file["object_id"]) == ["a", "b", "bad", "c", "d"]
    elif suffix == ".npy":
        found = np.load(out)
    elif suffix == ".fits":
        found = np.ma.filled(Table.read(out)["embedding"], np.nan)
    else:
        import pyarrow.parquet

        found = np.array(pyarrow.parquet.read_table(out)["embedding"].to_pylist())
    assert found.shape == (5, 512)
    np.testing.assert_allclose(found, expected, atol=1e-6, equal_nan=True)
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_strict_counts_the_failures_of_a_finished_run(run, cutouts, tmp_path, suffix):
    arguments = ("embed", cutouts, "-o", tmp_path / f"e{suffix}", "--strict")
    assert run(*arguments).exit_code == 1
    result = run(*arguments, "--resume")
    assert result.exit_code == 1
    assert "(5 rows), 1 of them failed" in result.stderr


def test_an_output_is_needed(run, cutouts):
    result = run("embed", cutouts)
    assert result.exit_code == 2
    assert "Name the result with -o FILE" in result.stderr


def test_npy_is_for_embeddings_only(run, cutouts):
    result = run("classify", cutouts, "-o", "t.npy")
    assert result.exit_code == 2
    assert "holds embeddings only" in result.stderr


def test_inspect_says_what_is_done_and_draws_it(run, cutouts, tmp_path):
    out = tmp_path / "p.png"
    result = run("inspect", cutouts / "d.fits", "-o", out, "--stretch", "gzdecals")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if " " in line)
    assert lines["stretch"] == "gzdecals"
    assert lines["bands"] == "g, r, z"
    assert "label" in lines
    with Image.open(out) as image:
        assert image.width > 3 * image.height
        assert np.asarray(image).std() > 10


def read_panels(path):
    """Grey pixels of the four panels below their captions."""
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L")).astype(float)
    lefts = [6 + 326 * number for number in range(4)]
    return [grey[26:346, left : left + 320] for left in lefts]


def test_panels_show_image_stretched_cropped_and_what_the_network_sees(run, tmp_path):
    flux = make_flux(("g", "r", "z"), side=240)
    flux[:, 10:20, 30:40] += 5  # a star at the top, left of the field of view
    path = write_fits(tmp_path / "a.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    result = run("inspect", path, "-o", tmp_path / "p.png", "--crop", "0.5")
    assert result.exit_code == 0, result.output
    image, stretched, cropped, seen = read_panels(tmp_path / "p.png")
    star = (slice(13, 27), slice(40, 53))
    mirrored = (slice(-27, -13), slice(40, 53))
    for panel in (image, stretched):
        assert panel[star].mean() > 200 > panel[mirrored].mean() + 100
    assert cropped[:60, :60].max() < 200
    assert not np.array_equal(image, stretched)
    # The middle half of the second panel, enlarged; the last one the same with fewer pixels.
    enlarged = Image.fromarray(stretched[80:240, 80:240].astype(np.uint8)).resize((320, 320))
    for panel in (np.asarray(enlarged).astype(float), seen):
        assert np.corrcoef(panel.ravel(), cropped.ravel())[0, 1] > 0.97


def test_inspect_makes_the_folder_of_its_panels_or_does_not_begin(run, cutouts, tmp_path):
    out = tmp_path / "new" / "p.png"
    assert run("inspect", cutouts / "a.jpg", "-o", out).exit_code == 0
    assert out.is_file()
    result = run("inspect", cutouts / "a.jpg", "-o", cutouts / "a.jpg" / "p.png")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "its folder cannot be made" in result.stderr


def test_inspect_agrees_with_classify(run, cutouts):
    said = run("inspect", cutouts / "a.jpg").stdout
    label = next(line.split()[1] for line in said.splitlines() if line.startswith("label"))
    assert f",{label}," in run("classify", cutouts / "a.jpg").stdout


def test_inspect_of_a_bad_file_is_one_line(run, cutouts):
    result = run("inspect", cutouts / "bad.jpg")
    assert result.exit_code == 2
    assert "bad.jpg" in result.stderr
    assert "Traceback" not in result.output


def test_inspect_without_a_pixel_scale_says_so(run, cutouts):
    result = run("inspect", cutouts / "a.jpg", "--fov", "10")
    assert result.exit_code == 2
    assert "pixel scale" in result.stderr


def test_doctor_reports_and_times(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("galmorph.cli.doctor.TIMED_IMAGES", 8)
    result = run("doctor")
    for said in ("torch", "cuda", "off (HF_HUB_OFFLINE)", str(tmp_path), "images/s"):
        assert said in result.stdout, said


def test_doctor_fails_on_a_device_that_is_not_there(run):
    result = run("doctor", "--no-timing", "--device", "cpu:9")
    assert "Traceback" not in result.output
