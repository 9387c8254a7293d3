"""Outputs that would replace an image are refused before any work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from galmorph.cli.options import prepare_output, prepare_picture
from galmorph.errors import OptionError
from galmorph.inputs import refuse_image

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("round_1.jpg", "decals_round_1.fits"):
        shutil.copy(EXAMPLES / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["round_1.jpg", "decals_round_1.fits"])
def test_an_image_is_never_replaced(folder: Path, name: str) -> None:
    before = (folder / name).read_bytes()
    for check in (refuse_image, prepare_output):
        with pytest.raises(OptionError, match=f"{name} is there already"):
            check(str(folder / name))
    assert (folder / name).read_bytes() == before


def test_a_foreign_fits_table_is_not_replaced(tmp_path: Path) -> None:
    Table({"a": np.arange(3)}).write(tmp_path / "catalogue.fits")
    with pytest.raises(OptionError, match="no result of galmorph"):
        refuse_image(str(tmp_path / "catalogue.fits"))


def test_results_of_before_may_be_replaced(run: Any, folder: Path) -> None:
    for name in ("out.fits", "out.csv", "out.xml", "out.parquet"):
        for _ in range(2):
            result = run("classify", folder / "round_1.jpg", "-o", folder / name, "--overwrite")
            assert result.exit_code == 0, result.output


def test_classify_refuses_an_image_of_the_folder(run: Any, folder: Path) -> None:
    target = folder / "decals_round_1.fits"
    result = run("classify", folder, "-o", target)
    assert result.exit_code == 2
    assert "it is not replaced" in result.output
    with fits.open(target) as hdus:
        assert hdus[0].data is not None


def test_a_figure_may_replace_a_figure_and_no_input(folder: Path) -> None:
    shutil.copy(folder / "round_1.jpg", folder / "galaxy.png")
    apart = folder / "figures" / "report.png"
    prepare_picture(str(apart), inputs=(str(folder / "round_1.jpg"),))
    apart.write_bytes((folder / "round_1.jpg").read_bytes())
    prepare_picture(str(apart), inputs=(str(folder / "round_1.jpg"),))
    with pytest.raises(click.UsageError, match="an input and the output"):
        prepare_picture(str(folder / "galaxy.png"), inputs=(str(folder / "galaxy.png"),))
    with pytest.raises(click.UsageError, match="among the images"):
        prepare_picture(str(folder / "galaxy.png"), inputs=(str(folder),))


def test_inspect_does_not_draw_over_its_image(run: Any, folder: Path) -> None:
    from PIL import Image

    Image.open(folder / "round_1.jpg").save(folder / "a.png")
    before = (folder / "a.png").read_bytes()
    result = run("inspect", folder / "a.png", "-o", folder / "a.png")
    assert result.exit_code == 2
    assert (folder / "a.png").read_bytes() == before


def test_new_files_and_other_files_are_no_matter(tmp_path: Path) -> None:
    refuse_image(str(tmp_path / "new.csv"))
    (tmp_path / "notes.csv").write_text("a,b\n")
    refuse_image(str(tmp_path / "notes.csv"))
    prepare_output(str(tmp_path / "deeper" / "new.json"))
    assert (tmp_path / "deeper").is_dir()
