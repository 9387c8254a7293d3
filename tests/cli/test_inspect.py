import io

from PIL import Image
from synthetic import make_flux, write_fits, write_jpeg


def read_lines(output):
    """Label and value of each line; no label may come twice."""
    pairs = [(line[:16].strip(), line[17:]) for line in output.splitlines()]
    labels = [label for label, _ in pairs]
    assert len(labels) == len(set(labels)), labels
    return dict(pairs)


def test_a_position_from_the_name_is_shown_as_one(run, tmp_path):
    path = write_jpeg(tmp_path / "J100000.00+020000.0b.jpg", side=120)
    result = run("inspect", path, "--pixel-scale", "0.4")
    assert result.exit_code == 0, result.output
    lines = read_lines(result.stdout)
    assert lines["position"] == "RA 150.000000, Dec +2.000000 degrees (from the file name)"
    assert lines["pixel scale"] == "0.4 arcsec (as given)"


def test_what_is_used_is_told_from_what_there_is(run, tmp_path):
    flux = make_flux(("g", "r", "i", "z"), side=100)
    flux[0, :10, :10] = 0  # not observed in one band
    cards = {"BANDS": "griz", "SURVEY": "LegacySurvey"}
    path = write_fits(tmp_path / "a.fits", flux, **cards)
    result = run("inspect", path, "--stretch", "gzdecals", "--crop", "0.5")
    assert result.exit_code == 0, result.output
    lines = read_lines(result.stdout)
    assert (lines["bands"], lines["bands used"]) == ("g, r, i, z", "g,r,z")
    assert (lines["unit"], lines["unit used"]) == ("unknown", "assumed nanomaggy")
    assert lines["bad pixels"] == "100"
    assert "bad pixels seen" not in lines  # the field of view has none
    whole = read_lines(run("inspect", path, "--crop", "1").stdout)
    assert whole["bad pixels"] == "100" and "bad pixels seen" not in whole
    path = write_fits(tmp_path / "b.fits", flux, BUNIT="nanomaggy", **cards)
    same = read_lines(run("inspect", path).stdout)
    assert same["unit"] == "nanomaggy" and "unit used" not in same


def test_why_adds_a_panel(run, tmp_path, model_file):
    path = write_jpeg(tmp_path / "a.jpg", side=120)
    plain, why = tmp_path / "plain.png", tmp_path / "why.png"
    assert run("inspect", path, "-o", plain).exit_code == 0
    result = run("inspect", path, "--why", "spiral", "--attention", "-o", why)
    assert result.exit_code == 0, result.output
    widths = [Image.open(io.BytesIO(each.read_bytes())).width for each in (plain, why)]
    assert widths[1] > widths[0] * 1.4
    refused = run("inspect", path, "--why", "spirals", "-o", tmp_path / "other.png")
    assert refused.exit_code != 0 and "no such share; spiral is one" in refused.stderr
    assert not (tmp_path / "other.png").exists()
    assert "say where with -o" in run("inspect", path, "--attention").stderr
