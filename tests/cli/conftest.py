"""A model file with random weights, a folder of cutouts, and a way to run the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from inference_model import make_model
from synthetic import make_flux, write_fits, write_jpeg

from galmorph.cli.main import cli
from galmorph.model import write_model

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    write_model(path, make_model())
    return path


@pytest.fixture
def cutouts(tmp_path: Path) -> Path:
    """Four good images of two kinds, and one that is cut short: a.jpg ... d.fits, bad.jpg."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for number, name in enumerate("abc"):
        write_jpeg(folder / f"{name}.jpg", side=120, seed=number)
    flux = make_flux(("g", "r", "z"), side=100)
    write_fits(folder / "d.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    bad = folder / "bad.jpg"
    bad.write_bytes((folder / "a.jpg").read_bytes()[:200])
    return folder


@pytest.fixture
def run(model_file: Path) -> Run:
    """Run galmorph in this process; commands that take a model get the random one."""
    takes_model = ("classify", "embed", "inspect", "doctor")

    def call(*arguments: object, head: str | None = "test") -> Result:
        words = [str(argument) for argument in arguments]
        if words and words[0] in takes_model and "--model" not in words and "-h" not in words:
            words += ["--model", str(model_file)]
            words += ["--head", head] if words[0] == "classify" and head else []
            words += ["--device", "cpu"] if words[0] != "inspect" else []
        return CliRunner().invoke(cli, words, prog_name="galmorph")

    return call
