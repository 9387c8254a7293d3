"""Cutouts by position, from services that misbehave."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from click.testing import CliRunner, Result
from inference_model import make_model
from survey_server import SurveyServer, make_picture, serve_surveys

import galmorph
from galmorph import remote
from galmorph.cli.main import cli
from galmorph.errors import (
    GalmorphWarning,
    NotAnsweredError,
    NotCoveredError,
    OptionError,
    SurveyError,
)
from galmorph.flags import Flags, decode_flags
from galmorph.images.ahead import AHEAD, bring_ahead
from galmorph.images.mosaic import Position
from galmorph.images.read import read_cutout
from galmorph.images.source import Lost
from galmorph.inference import processes
from galmorph.model import write_model
from galmorph.surveys import client, cutouts
from galmorph.surveys.cutouts import Cache
from galmorph.surveys.services import SERVICES, Frame, choose_frame, find_service

SIDE = 84
FOV = f"{SIDE * 0.262:.3f}"
HIPS = "hips:CDS/P/DESI-Legacy-Surveys/DR10/color"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SurveyServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(client, "SILENCE_S", 1.0)
    monkeypatch.setattr(cutouts, "CLIENT", client.Client())
    with serve_surveys() as found:
        monkeypatch.setenv("GALMORPH_SURVEY_URL", found.url)
        yield found


def read_one(survey: str, ra: float = 10.0, dec: float = 2.0, **given: object):
    (source,) = cutouts.list_positions([Position("g", ra, dec)], survey, **given)
    return read_cutout(source)


@pytest.mark.parametrize(
    ("survey", "side", "scale"), [("legacysurvey", 256, 0.262), ("sdss", 424, 0.396127),
                                  (HIPS, 256, 0.262)],
)  # fmt: skip
def test_each_service_gives_its_usual_frame(server, survey, side, scale):
    cutout = read_one(survey)
    assert cutout.array.shape == (3, side, side)
    assert (cutout.ra, cutout.dec, cutout.pixel_scale) == (10.0, 2.0, scale)
    assert ("percentiles" in cutout.notes.get("stretched_by_survey", "")) == (survey == HIPS)
    (agent,) = server.agents
    assert agent.startswith("galmorph")


def test_a_field_is_asked_for_as_the_service_wants_it(server):
    (source,) = cutouts.list_positions([Position("g", -1.5, 2.0)], HIPS, fov=26.2)
    asked = parse_qs(urlsplit(source.address).query)
    assert asked["ra"] == ["358.500000"]
    assert (asked["width"], float(asked["fov"][0])) == (["100"], pytest.approx(26.2 / 3600))
    assert source.read(galmorph.settings.ReadOptions()).array.shape == (3, 100, 100)


def test_what_would_be_clamped_is_asked_for_in_coarser_or_finer_pixels():
    assert choose_frame(SERVICES["sdss"], 10.0, {}) == Frame(10 / 64, 64)
    assert choose_frame(SERVICES["legacysurvey"], 3000.0, {}) == Frame(1.0, 3000)


def test_a_radius_gives_the_frames_of_galaxy_zoo(server):
    place = Position("g", 10.0, 2.0, {"PETROR90_R": 12.5})
    (source,) = cutouts.list_positions([place], "sdss")
    assert source.frame == Frame(0.25, 424)
    assert np.isnan(read_cutout(source).pixel_scale)  # so that the head's own field is looked at
    for radius in (float("nan"), -9999.0, None):
        assert choose_frame(SERVICES["sdss"], None, {"petroR90_r": radius}).scale == 0.396127


def test_flux_in_the_bands_asked_for(server):
    (source,) = cutouts.list_positions([Position("g", 10, 2)], "legacysurvey", bands=("g", "z"))
    cutout = read_cutout(source, options=galmorph.settings.ReadOptions(bands=("g", "z")))
    assert (cutout.kind, cutout.bands) == ("flux", ("g", "z"))
    with pytest.raises(OptionError, match=r"has the bands g,r,i,z, not 'q'"):
        cutouts.list_positions([], "legacysurvey", bands=("q",))
    with pytest.raises(OptionError, match="pictures alone"):
        cutouts.list_positions([], "sdss", bands=("g",))


def test_more_bands_than_asked_for_are_found_out(server, monkeypatch):
    (source,) = cutouts.list_positions([Position("g", 10, 2)], "legacysurvey", bands=("g", "r"))
    unknown = source.address.replace("bands=gr", "bands=qr")
    with pytest.raises(
        NotAnsweredError, match="2 x 256 x 256 pixels were asked for, and 4 x 256 x 256 came"
    ):
        cutouts.replace(source, urls=(unknown,)).read(galmorph.settings.ReadOptions())


@pytest.mark.parametrize("survey", ["legacysurvey", "sdss", HIPS])
def test_outside_the_footprint(server, survey):
    with pytest.raises(NotCoveredError, match="tile is empty"):
        read_one(survey, dec=-70.0)


def test_flux_outside_the_footprint(server):
    place = [Position("g", 10, -70)]
    found = cutouts.list_positions(place, "legacysurvey", bands=("g",))
    (lost,) = bring_ahead(found, connections=4)
    assert isinstance(lost, Lost)
    with pytest.raises(
        NotAnsweredError, match=r"says 500 .*outside of the survey: .*error, as 500"
    ):
        read_cutout(lost)


@pytest.mark.parametrize("fault", ["429", "500", "502", "cut", "html", "drop", "slow"])
def test_what_passes_is_asked_again(server, fault):
    server.faults[10.0] = [fault]
    began = time.monotonic()
    assert read_one("legacysurvey").array.shape == (3, 256, 256)
    assert server.asked[10.0] == 2
    assert time.monotonic() - began > (1.0 if fault == "429" else 0)  # Retry-After: 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [("502*", "asked 5 times: the service says 502 .Down for maintenance"),
     ("html*", "a web page came in place of an image: Down for maintenance"),
     ("404", "the service says 404"),
     ("small", "3 x 84 x 84 pixels were asked for, and 3 x 40 x 40 came")],
)  # fmt: skip
def test_what_does_not_pass_is_said(server, fault, said):
    server.faults[10.0] = [fault]
    with pytest.raises(NotAnsweredError, match=said):
        read_one("legacysurvey", fov=float(FOV))


@pytest.mark.parametrize(
    ("survey", "said"),
    [("legacysurvey:ls-dr99", "no image came, but: no such layer"),
     ("hips:CDS/P/None", "the service says 400 .Unknown HiPS")],
)  # fmt: skip
def test_an_unknown_layer_is_said(server, survey, said):
    with pytest.raises(NotAnsweredError, match=said):
        read_one(survey)


@pytest.mark.parametrize(
    ("survey", "url", "said"),
    [("desi", None, "is one of legacysurvey, sdss, hips"), ("hips", None, "needs the HiPS"),
     ("sdss", "https://me:secret@host", "without user, password"),
     ("sdss", "https://host?key=secret", "without user, password"), ("sdss", "file:///x", "HOST")],
)  # fmt: skip
def test_names_and_addresses_are_checked(survey, url, said):
    with pytest.raises(OptionError, match=said) as raised:
        find_service(survey, url)
    assert "secret" not in str(raised.value)


def test_a_long_retry_after_is_obeyed_by_leaving(server, monkeypatch):
    monkeypatch.setattr(client, "LONGEST_PAUSE_S", 0.5)
    server.faults[10.0] = ["429"]
    for ra in (10.0, 11.0):
        with pytest.raises(NotAnsweredError, match="asks to wait for 1 s"):
            read_one("sdss", ra)
    assert server.asked == {10.0: 1}  # nobody else asks meanwhile


def test_retry_after_is_a_number_or_a_date():
    assert client._read_pause("Thu, 01 Jan 1970 00:00:00 GMT") == 0.0
    assert client._read_pause("soon") == 0.0
    assert client._read_pause("7") == 7.0


def test_the_cache_is_verified_and_bounded(tmp_path, monkeypatch):
    cache = Cache(tmp_path, max_bytes=1000)
    monkeypatch.setattr("galmorph.surveys.cutouts.CHECKED_EVERY", 1)
    for k in range(5):
        cache.put(f"u{k}", bytes(200))
        time.sleep(0.01)
    assert cache.get("u0") is None
    assert cache.get("u4") == bytes(200)
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 1000
    place = cache._place("u4")
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    assert cache.get("u4") is None
    assert not place.exists()


def test_four_connections_order_and_no_second_request(server):
    server.pace = 0.02
    places = [Position(str(k), 10 + 0.001 * k, 2.0) for k in range(40)]
    for _ in range(2):
        sources = cutouts.list_positions(places, "legacysurvey", fov=float(FOV))
        found = list(bring_ahead(sources, connections=4))
        assert [source.object_id for source in found] == [place.object_id for place in places]
    assert server.most == 4
    assert set(server.asked.values()) == {1}
    assert found[3].read_head(2) == b"\xff\xd8"
    assert pickle.loads(pickle.dumps(found[3])) == found[3]


def test_no_more_is_held_than_a_bound(server):
    listed = []
    places = (listed.append(k) or Position(str(k), 10 + 0.001 * k, 2.0) for k in range(500))
    found = bring_ahead(cutouts.list_positions(places, "sdss", fov=25.0), connections=1)
    next(found)
    found.close()
    assert len(listed) <= AHEAD + 2


def test_a_service_that_is_down_stops_the_run(server, monkeypatch):
    monkeypatch.setattr(remote, "TRIES", 1)
    server.faults = {10.0 + k: ["502*"] for k in range(100)}
    places = [Position(str(k), 10.0 + k, 2.0) for k in range(100)]
    with pytest.raises(SurveyError, match="50 cutouts in a row .* --resume"):
        list(bring_ahead(cutouts.list_positions(places, "sdss"), connections=4))


def test_from_python(server):
    coords = SkyCoord([10, 11, 12], [2, -70, 2], unit="deg")
    before = threading.active_count()
    with pytest.warns(GalmorphWarning, match="1: .*tile is empty"):
        found = list(galmorph.Survey("legacysurvey").cutouts(coords, fov=float(FOV)))
    assert [cutout is not None for cutout in found] == [True, False, True]
    assert threading.active_count() <= before + 8  # four connections, and the server's


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    write_model(path, make_model())
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, words)), prog_name="galmorph")


def write_sample(path: Path, count: int, outside: tuple[int, ...] = ()) -> Path:
    lines = [f"{10 + 0.001 * k:.3f},{-70 if k in outside else 2},s{k},{k}" for k in range(count)]
    path.write_text("\n".join(["ra,dec,object_id,z", *lines]))
    return path


PASSING = ("429", "500", "502", "cut", "html", "drop")
LASTING = {"500*": "not_answered", "html*": "not_answered", "small*": "not_answered",
           "flat*": "not_covered"}  # fmt: skip


def test_every_position_has_its_row(server, tmp_path, model_file, monkeypatch):
    sample, out = write_sample(tmp_path / "sample.csv", 300, outside=(50,)), tmp_path / "out.fits"
    lasting = list(LASTING.items())
    expected = {50: "not_covered"}
    for n, k in enumerate(range(7, 300, 20)):  # 5 %
        fault, flag = lasting[n // 2 % 4]
        server.faults[round(10 + 0.001 * k, 6)] = [fault if n % 2 else PASSING[n // 2 % 6]]
        expected |= {k: flag} if n % 2 else {}
    words = ["classify", "--catalogue", sample, "--survey", "legacysurvey", "--fov", FOV]
    words += ["-o", out, "--model", model_file, "--head", "test", "--device", "cpu", "-q"]

    usual, blocks = cutouts.SkyPosition.read, []

    def stop(source, options):
        blocks.append(source)
        if len(blocks) == 200:
            raise KeyboardInterrupt
        return usual(source, options)

    monkeypatch.setattr(cutouts.SkyPosition, "read", stop)
    assert run(*words).exit_code == 130
    monkeypatch.setattr(cutouts.SkyPosition, "read", usual)
    before = server.asked.copy()
    result = run(*words, "--resume")
    assert result.exit_code == 0, result.output
    table = Table.read(out)
    assert list(table["object_id"]) == [f"s{k}" for k in range(300)]
    assert list(table["z"]) == list(range(300))
    assert np.allclose(table["ra"], [10 + 0.001 * k for k in range(300)])
    failed = {k: decode_flags(f) for k, f in enumerate(table["flags"]) if f & Flags.READ_FAILED}
    assert failed == {k: ["read_failed", name] for k, name in expected.items()}
    assert all(table["message"][k] for k in expected)
    assert all(table["label"][k] for k in range(300) if k not in expected)
    assert server.most <= 4
    good = [round(10 + 0.001 * k, 6) for k in range(300) if k not in expected]
    assert all(server.asked[ra] == before[ra] for ra in good if before[ra])  # from the cache


def test_flux_is_read_where_it_may_crash(server, tmp_path, model_file, monkeypatch):
    # Reading processes that know this test's cache: their environment is that of their start.
    monkeypatch.setattr(processes, "_nurseries", {})
    sample, out = write_sample(tmp_path / "sample.csv", 6), tmp_path / "out.fits"
    words = ["--catalogue", sample, "--survey", "legacysurvey", "--fov", FOV, "--bands", "grz"]
    words += ["--model", model_file, "--head", "test", "--device", "cpu", "-o", out, "-q"]
    result = run("classify", *words)
    assert result.exit_code == 0, result.output
    assert all(Table.read(out)["label"])
    assert set(server.asked.values()) == {1}


def test_cutouts_are_kept(server, tmp_path):
    sample = write_sample(tmp_path / "sample.csv", 5, outside=(3,))
    folder = tmp_path / "kept"
    words = ["cutouts", "--catalogue", sample, "--survey", "legacysurvey", "--fov", FOV]
    result = run(*words, "-o", folder)
    assert result.exit_code == 0, result.output
    assert "4 of 5 cutouts" in result.output
    table = Table.read(folder / "cutouts.csv")
    assert list(table["object_id"]) == ["s0", "s1", "s2", "s3", "s4"]
    assert (folder / "s0.jpg").read_bytes() == make_picture(SIDE)
    assert not (folder / "s3.jpg").exists()
    told = json.loads((folder / "provenance.json").read_text())
    assert (told["inputs"]["survey"], len(told["inputs"]["catalogue_sha256"])) == (
        "legacysurvey",
        64,
    )
    assert f"-o {folder}" in told["command"]
    assert "tile is empty" in table["message"][3]
    assert list(table["z"]) == list(range(5))
    again = run(*words, "-o", folder / "s0.jpg")
    assert (again.exit_code, "name a folder of yours" in again.output) == (1, True)


def test_a_radius_of_the_catalogue_scales_the_frames(server, tmp_path, model_file):
    sample, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    sample.write_text("ra,dec,SHAPE_R\n10.1,2,5\n10.2,2,-1\n")
    words = ["--catalogue", sample, "--survey", "legacysurvey", "--model", model_file, "-o", out]
    words += ["--head", "test", "--device", "cpu", "-q"]
    result = run("classify", *words, "--fov", "auto")
    assert result.exit_code == 0, result.output
    scaled, usual = Table.read(out)["path"]
    assert "pixscale=0.232&size=424" in scaled
    assert "pixscale=0.262&size=256" in usual
    sample.write_text("ra,dec,z\n10.1,2,5\n")
    result = run("classify", *words, "--fov", "auto", "--overwrite")
    assert "needs a column petror90_r or shape_r; the catalogue has z" in result.output
    result = run("classify", tmp_path, "--fov", "auto", "-o", tmp_path / "o.csv")
    assert "with --survey alone" in result.output


def test_a_mirror_is_asked_where_the_service_fails(server, monkeypatch):
    asked = []

    def ask(url: str) -> bytes:
        asked.append(urlsplit(url).hostname)
        if len(asked) == 1:
            raise client.Passing("down")
        return make_picture(256)

    monkeypatch.delenv("GALMORPH_SURVEY_URL")
    monkeypatch.setattr(client, "_ask", ask)
    assert read_one(HIPS).path.startswith("https://alasky.cds.unistra.fr/")
    assert asked == ["alasky.cds.unistra.fr", "alaskybis.cds.unistra.fr"]


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--survey", "sdss"], "--survey needs --catalogue"),
     (["--catalogue", "S", "--survey", "sdss", "--path-column", "p"], "one of --survey"),
     (["--catalogue", "S", "--survey", "x"], "--survey is one of"),
     (["--catalogue", "S", "--survey", "sdss", "--center", "1", "2"], "has the centres")],
)  # fmt: skip
def test_options_that_do_not_go_together(tmp_path, words, said):
    sample = write_sample(tmp_path / "sample.csv", 1)
    words = [str(sample) if word == "S" else word for word in words]
    result = run("classify", *words)
    assert result.exit_code == 2
    assert said in result.output


def test_pauses_double_and_are_never_quite_the_same(monkeypatch):
    """Many who were turned away at once would come back at once."""
    pauses: list[float] = []
    stopped, call = threading.Event(), Mock(side_effect=remote.Passing("not now"))
    monkeypatch.setattr(stopped, "wait", pauses.append)
    for _ in range(2):
        with pytest.raises(NotAnsweredError, match="asked 5 times: not now"):
            remote.ask(None, call, stopped)
    usual = [remote.FIRST_PAUSE_S * 2**n for n in range(4)] * 2
    assert all(0.5 <= p / u <= 1.5 for p, u in zip(pauses, usual, strict=True))
    assert pauses[:4] != pauses[4:]
