"""``galmorph fit`` and ``evaluate`` with labels as users have them, and what they get wrong."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic import make_flux, write_fits

from galmorph.cli.fit import fit
from galmorph.encoders.registry import create_encoder
from galmorph.model import read_heads, read_model, write_model
from galmorph.settings import PixelOptions, RunOptions, list_options
from tests.training.commands import call


def test_classes_are_named_as_their_folders_are(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(galaxies / "test" / "round", data / "face-on")
    shutil.copytree(galaxies / "test" / "edge_on", data / "edge-on")
    common = ["evaluate", "folders", data, "--model", model_file, "--neighbours", 3, "-q"]
    report = tmp_path / "r.json"
    call(*common, "--classes", "edge-on,face-on", "--merge", "any-thing=edge-on", "-o", report)
    (result,) = json.loads(report.read_text())["results"]
    assert result["class_names"] == ["any_thing", "face_on"]
    assert result["count"] == 16
    found = call(*common, "--merge", "smooth=roundish+edge-on", status=2)
    assert "--merge: there is no class roundish; there are edge_on, face_on" in found.output
    found = call(*common, "--classes", "edge-on,ring", status=1)
    assert "no cutout has the label ring; there are edge_on, face_on" in found.output


def test_labels_of_a_table_that_pandas_wrote(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    files = sorted((galaxies / "train").rglob("*.png"))
    cells = [["1.0", "0.0"]["round" in file.name] for file in files]
    rows = [f"{file},{cell}" for file, cell in zip(files, cells, strict=True)]
    rows[0] = f"{files[0]},"
    table.write_text("file,label\n" + "\n".join([*rows, rows[1]]) + "\n")
    result = call(
        *("fit", table, "--path-column", "file", "--model", model_file, "-q"),
        *("-o", tmp_path / "new" / "h.safetensors"),
    )
    assert "39 cutouts (0 20, 1 19)" in result.output
    assert "1 without a label" in result.output
    assert "1 named again, counted once" in result.output


def test_one_crop_to_select_is_the_crop(model_file: Path, galaxies: Path, tmp_path: Path) -> None:
    def evaluate(*options: str) -> dict[str, Any]:
        where = ["evaluate", "folders", galaxies / "train", "--model", model_file, "--folds", 3]
        report = tmp_path / "r.json"
        call(*where, "--protocols", "probe", "-o", report, "-q", "--overwrite", *options)
        return json.loads(report.read_text())["results"][0]

    selected, given = evaluate("--select-crop", "0.3"), evaluate("--crop", "0.3")
    assert selected["details"]["crops_chosen"] == ["0.3"] * 3
    assert selected["reliability"] == given["reliability"] != evaluate()["reliability"]


def test_a_head_knows_the_weights_that_it_was_fitted_on(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    head = tmp_path / "mine.safetensors"
    call("fit", "folders", galaxies / "train", "--model", model_file, "-o", head, "-q")
    model = read_model(model_file)
    half = tmp_path / "half.safetensors"
    write_model(half, model, half=True)
    image = next((galaxies / "test").rglob("*.png"))
    common = ["classify", image, "--head", head, "-o", tmp_path / "t.csv", "-q", "--overwrite"]
    call(*common, "--model", half)
    call(*common, "--model", half, "--backend", "onnx")
    torch.manual_seed(5)
    other = tmp_path / model_file.name
    write_model(other, replace(model, encoder=create_encoder(model.architecture).eval()))
    found = call(*common, "--model", other, status=2)
    assert "was fitted on other weights than those of this model" in found.output


def test_a_small_test_set_loses_no_result(
    head_file: Path, model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    report = tmp_path / "reports" / "r.json"
    common = ["evaluate", "folders", galaxies / "test", "--model", model_file, "-q"]
    few = [*common, "--neighbours", 16]
    result = call(*few, "--head", head_file, "-o", report)
    assert "no leave-one-out kNN: 16 cutouts do not leave 16 neighbours" in result.output
    assert len(json.loads(report.read_text())["results"]) == 1
    assert result.output.endswith(f"report: {report}\n")
    report.unlink()
    result = call(
        *few, "--head", head_file, "--protocols", "head,loo", "-o", report, status=1
    )  # one that fails after another has been measured
    assert "15 labelled cutouts cannot give 16 neighbours; take fewer" in result.output
    assert f"report: {report}\n" in result.output
    assert len(json.loads(report.read_text())["results"]) == 1
    result = call(*few, "--folds", 2, "--protocols", "knn", status=1)
    assert "8 labelled cutouts cannot give 16 neighbours" in result.output


def test_too_few_cutouts_for_knn_by_folds_lose_no_result(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    report = tmp_path / "r.json"
    common = ["evaluate", "folders", galaxies / "test", "--model", model_file, "-q"]
    result = call(*common, "--folds", 2, "--neighbours", 9, "-o", report)
    assert "no kNN by 2 folds: 16 cutouts do not leave 9 neighbours" in result.output
    probe, loo = json.loads(report.read_text())["results"]
    assert probe["protocol"].startswith("linear probe, stratified 2-fold")
    assert loo["protocol"].startswith("leave-one-out kNN")


def test_what_fails_for_sure_fails_before_anything_is_measured(
    head_file: Path, model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    common = ["evaluate", "folders", galaxies / "test", "--model", model_file, "-q"]
    common += ["--head", head_file]
    result = call(*common, "--checkpoint", tmp_path / "none.pt", status=1)
    assert "none.pt: there is no checkpoint" in result.output
    assert "accuracy" not in result.output
    result = call(*common, "--folds", 9, status=1)
    assert "the class 'edge_on' has 8 members, too few for 9 folds; take fewer" in result.output
    assert "accuracy" not in result.output


def test_test_and_training_part_are_kept_apart(
    model_file: Path, galaxies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(galaxies)
    where = ["evaluate", "folders", "test", "--train-data", "train", "--train-data", "./test/round"]
    result = call(*where, "--model", model_file, "-q", status=1)
    assert "8 of 16 test cutouts are in the training part as well" in result.output
    assert "accuracy" not in result.output


@pytest.mark.parametrize(
    ("output", "whose"),
    [
        (["-o", "labels.csv"], "labels.csv"),
        (["-o", "link.json"], "link.json"),
        (["-o", "train.csv"], "train.csv"),
        (["--figure", "round50.png"], "round50.png"),
    ],
)
def test_no_input_is_replaced(
    output: list[str],
    whose: str,
    model_file: Path,
    galaxies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.csv").write_text("object_id,label\nround50,round\n")
    shutil.copy("labels.csv", "train.csv")
    Path("link.json").symlink_to("labels.csv")
    shutil.copy(galaxies / "test" / "round" / "round50.png", ".")
    before = Path(whose).read_bytes()
    train = ["--train-labels", "./train.csv", "--train-data", galaxies / "train"]
    common = ["evaluate", "labels.csv", "round50.png", *train, "--model", model_file, "-q"]
    result = call(*common, *output, status=2)
    assert f"{whose} is an input and the output; name another file" in result.output
    assert Path(whose).read_bytes() == before


def test_a_head_replaces_no_model(
    head_file: Path, model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    shutil.copy(model_file, path)
    result = call("fit", "folders", galaxies / "train", "--model", path, "-o", path, status=2)
    assert f"{path} is a whole model, and the head would replace it" in result.output
    assert f"--add-to {path} --name NAME" in result.output
    assert path.read_bytes() == model_file.read_bytes()
    for content in (head_file.read_bytes(), b"damaged"):
        path.write_bytes(content)
        common = ("fit", "folders", galaxies / "test", "--model", model_file, "-o", path, "-q")
        assert "is there already; replace it with --overwrite" in call(*common, status=2).output
        call(*common, "--overwrite")
        assert set(read_heads(path).heads) == {"m"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocols", "head"], "The protocol head needs --head."),
        (["--protocols", "loo,knn"], "The protocol knn needs --train-data or --folds."),
        (["--folds", "2", "--select-crop", "0,1"], "must be positive or auto, not 0"),
        (["--figure", "x.xyz"], "must end in .png, .pdf, .svg"),
        (["-o", "{file}/r.json"], "its folder cannot be made"),
        (["-o", "{folder}"], "name a file"),
    ],
)
def test_what_cannot_end_well_does_not_begin(
    options: list[str], message: str, model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    options = [o.format(file=tmp_path / "file", folder=tmp_path) for o in options]
    common = ["evaluate", "folders", galaxies / "test", "--model", model_file, "-q"]
    assert message in call(*common, *options, status=2).output


def test_every_option_of_the_pixels_reaches_the_run() -> None:
    given = {each.name: each.default for each, _, _ in list_options(PixelOptions)}
    assert given.keys() <= {param.name for param in fit.params}
    given["crop"] = 0.5
    assert RunOptions.take(given).field.crop == 0.5
    assert not given


def test_a_field_in_arcseconds_by_the_scale_of_the_pixels(
    head_file: Path, model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    report = tmp_path / "r.json"
    common = ["evaluate", "folders", galaxies / "test", "--model", model_file, "-q"]
    common += ["--head", head_file, "--neighbours", 3, "-o", report, "--overwrite"]
    call(*common, "--fov", 20, "--pixel-scale", 0.4)
    by_head, by_neighbours = json.loads(report.read_text())["results"]
    assert by_neighbours["count"] == 16
    assert by_head["details"]["crop"] is None
    call(*common)
    assert json.loads(report.read_text())["results"][0]["details"]["crop"] == 0.9


def test_nothing_measured_is_an_error(model_file: Path, galaxies: Path, tmp_path: Path) -> None:
    common = ["evaluate", "folders", galaxies / "test", "--model", model_file, "-q"]
    figure = tmp_path / "f.png"
    result = call(*common, "--neighbours", 16, "--figure", figure, status=1)
    assert "nothing was measured: give --head, --train-data" in result.output


def test_a_training_part_too_small_for_knn_loses_no_result(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    report = tmp_path / "r.json"
    common = ["evaluate", "folders", galaxies / "test", "--model", model_file, "-q"]
    result = call(*common, "--train-data", galaxies / "train", "--neighbours", 41, "-o", report)
    assert "no kNN: 40 cutouts do not leave 41 neighbours" in result.output
    assert len(json.loads(report.read_text())["results"]) == 1


def test_classes_of_the_training_part_may_be_merged(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    shutil.copytree(galaxies / "test" / "round", tmp_path / "data" / "smooth")
    shutil.copytree(galaxies / "test" / "edge_on", tmp_path / "data" / "edge_on")
    report = tmp_path / "r.json"
    where = [tmp_path / "data", "--train-data", galaxies / "train", "--train-labels", "folders"]
    common = ["evaluate", "folders", *where, "--model", model_file, "-q", "--protocols", "knn"]
    call(*common, "--merge", "smooth=round", "-o", report)
    (result,) = json.loads(report.read_text())["results"]
    assert set(result["class_names"]) == {"smooth", "edge_on"}


def test_a_part_of_the_sky_is_looked_at_whole(model_file: Path, tmp_path: Path) -> None:
    for name in ("round", "edge_on"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for n in range(10):
            flux = make_flux(seed=n)[:, :: 1 + (name == "edge_on")]
            flux = np.pad(flux, [(0, 0), (0, 64 - flux.shape[1]), (0, 0)])
            path = tmp_path / "data" / name / f"{name}_{n}.fits"
            write_fits(path, flux, BANDS="grz", SURVEY="DECaLS", BUNIT="nanomaggy")
    where = ["--center", 150.1, 2.2, "--fov", 10, "--model", model_file, "-q"]
    head = tmp_path / "h.safetensors"
    result = call("fit", "folders", tmp_path / "data", *where, "-o", head)
    again = "classify with pixels treated in the same way: --center 150.1 2.2 --fov 10.0"
    assert result.output.endswith(f"crop 1.0\n{again}\n")
    assert read_heads(head).heads["h"].crop == 1.0


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("спираль", "эллипс"), "holds none of the letters a to z and no digit"),
        (("_bar", "bar"), r"would be one class, because .* \(p_bar\)"),
    ],
)
def test_classes_that_no_column_can_be_named_by_are_refused_before_the_fit(
    names: tuple[str, str], said: str, model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    data, head = tmp_path / "data", tmp_path / "h.safetensors"
    for name, kind in zip(names, ("round", "edge_on"), strict=True):
        shutil.copytree(galaxies / "test" / kind, data / name)
    result = call("fit", "folders", data, "--model", model_file, "-o", head, "-q", status=1)
    assert re.search(said, result.output)
    assert result.output.startswith("Error: the label")
    assert not head.exists()
