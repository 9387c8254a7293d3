"""``galmorph pretrain``, ``fit``, ``evaluate`` and ``classify --head``, one after another."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from galmorph import typicality
from galmorph.model import read_heads, read_model, write_model
from galmorph.training.loop import _Log
from galmorph.weights.locate import locate_weights
from galmorph.weights.verify import compute_sha256, write_sidecar
from tests.training.commands import call


def test_a_fitted_head_classifies(head_file: Path, model_file: Path, galaxies: Path) -> None:
    heads, model, _ = read_heads(head_file)
    assert model == "fused_fast"
    assert heads["mine"].crop == 0.9
    output = head_file.parent / "classes.csv"
    call(
        "classify",
        galaxies / "test",
        "--head",
        head_file,
        "--model",
        model_file,
        "-o",
        output,
        "-q",
    )
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = [row["label"] == Path(row["path"]).parent.name for row in rows]
    assert len(right) == 16
    assert sum(right) >= 15
    assert [float(row["crop"]) for row in rows] == pytest.approx([0.9] * 16)


def test_evaluate_finds_the_same_as_classify(
    head_file: Path, model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    result = call(
        "evaluate",
        "folders",
        galaxies / "test",
        "--model",
        model_file,
        "--head",
        head_file,
        "--train-data",
        galaxies / "train",
        "--workers",
        1,
        "--neighbours",
        5,
        "-o",
        report,
        "-q",
    )
    found = json.loads(report.read_text())
    protocols = {r["protocol"].split(",")[0]: r for r in found["results"]}
    assert list(protocols) == [
        "linear head 'mine' on the test set",
        "linear probe",
        "kNN",
        "leave-one-out kNN inside the test set",
    ]
    assert protocols["linear head 'mine' on the test set"]["accuracy"] >= 15 / 16
    # The probe is the same fit on the same data.
    probe, head = protocols["linear probe"], protocols["linear head 'mine' on the test set"]
    assert probe["confusion"] == head["confusion"]
    assert probe["ece"] == pytest.approx(head["ece"], abs=1e-3)
    assert probe["details"]["rows"] == 40
    assert found["options"] == {"crops": [], "folds": None, "neighbours": 5, "seed": 0}
    assert "test labels vote" in result.output


def test_folds_merges_and_chosen_crops(model_file: Path, galaxies: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    call(
        "evaluate",
        "folders",
        galaxies / "train",
        "--model",
        model_file,
        "--folds",
        3,
        "--select-crop",
        "0.6,1.0",
        "--protocols",
        "probe,knn",
        "-o",
        report,
        "-q",
        "--merge",
        "smooth=round",
    )
    probe, knn = json.loads(report.read_text())["results"]
    assert probe["protocol"] == "linear probe, stratified 3-fold cross-validation"
    assert probe["count"] == 40
    assert probe["accuracy"] > 0.9
    assert len(probe["details"]["crops_chosen"]) == 3
    assert set(probe["details"]["crops_chosen"]) <= {"0.6", "1.0"}
    assert probe["class_names"] == ["edge_on", "smooth"]
    assert knn["protocol"].startswith("kNN, stratified 3-fold")


def test_a_head_goes_into_a_model_file(model_file: Path, galaxies: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_file.read_bytes())
    write_sidecar(path, compute_sha256(path))
    table = tmp_path / "labels.csv"
    rows = [f"{p.stem},{p.parent.name}" for p in sorted((galaxies / "train").rglob("*.png"))]
    table.write_text("\n".join(["object_id,label", *rows]) + "\n")
    call(
        "fit",
        table,
        galaxies / "train",
        "--add-to",
        path,
        "--name",
        "two",
        "--typicality",
        "--classes",
        "round,edge_on",
        "-q",
    )
    model = read_model(path)
    assert set(model.heads) == {"test", "two"}
    assert model.heads["two"].class_names == ("round", "edge_on")
    assert model.typicality is not None
    assert len(model.typicality.references) == 20
    assert path.stat().st_size < 1.3 * model_file.stat().st_size  # still float16
    assert locate_weights(path).path == path  # the .sha256 beside it holds for what it is now
    image = next((galaxies / "test").rglob("*.png"))
    found = call("classify", image, "--head", path, "--model", model_file, "-q", status=2)
    assert f"with the heads test, two; give it as --model {path} --head NAME" in found.output


def test_a_head_learns_what_is_typical_from_enough_cutouts(
    model_file: Path, galaxies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = tmp_path / "h.safetensors"
    fit = ("fit", "folders", galaxies / "train", "--model", model_file, "-q", "-o", head)
    fit += ("--overwrite",)
    call(*fit)
    assert read_heads(head).heads["h"].typicality is None
    monkeypatch.setattr(typicality, "ENOUGH_ROWS", 40)
    call(*fit)
    found = read_heads(head).heads["h"].typicality
    assert found is not None and len(found.references) == 20


@pytest.mark.filterwarnings("default::galmorph.errors.GalmorphWarning")
def test_options_of_the_pixels_are_remembered_and_said(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    head = tmp_path / "h.safetensors"
    fit = ("fit", "folders", galaxies / "train", "--model", model_file, "-q", "-o", head)
    fit += ("--overwrite",)
    assert "treated in the same way" not in call(*fit).output
    found = call(*fit, "--stretch", "asinh", "--bands", "red,green,blue")
    said = "classify with pixels treated in the same way: --bands red,green,blue --stretch asinh"
    assert said in found.output
    pixels = {"bands": "red,green,blue", "stretch": "asinh"}
    assert read_heads(head).heads["h"].notes["pixels"] == pixels
    image = next((galaxies / "test").rglob("*.png"))
    classify = ("classify", image, "--head", head, "--model", model_file, "-q")
    assert "was fitted with the stretch 'asinh'" in call(*classify).output
    assert "Warning" not in call(*classify, "--stretch", "asinh").output

    call(*fit, "--fov", 20, "--pixel-scale", 0.5)
    assert "with a field of view of 20.0 arcsec (--fov), and this run looks at a part of the" in (
        call(*classify).output
    )
    assert "Warning" not in call(*classify, "--fov", 20, "--pixel-scale", 0.5).output


def test_what_cannot_be_meant_is_refused_before_the_work(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    head = tmp_path / "h.safetensors"
    fit = ("fit", "folders", galaxies / "train", "--model", model_file, "-q", "-o", head)
    fit += ("--overwrite",)
    found = call(*fit, "--classes", "round,edge_on,round", status=2)
    assert "'--classes': names round twice" in found.output
    assert not head.exists()


@pytest.mark.parametrize("column", ["kind", "label"])
def test_labels_and_paths_in_one_table(
    model_file: Path, galaxies: Path, tmp_path: Path, column: str
) -> None:
    """``label`` is a column of galmorph's own results, and all the same the usual one here."""
    table = tmp_path / "labels.csv"
    files = sorted((galaxies / "train").rglob("*.png"))
    rows = [f"file,{column}", *(f"{p},{p.parent.name}" for p in files)]
    table.write_text("\n".join(rows) + "\n")
    fit = ["fit", table, "--path-column", "file", "--model", model_file, "-q"]
    fit += ["-o", tmp_path / "h.safetensors", "--overwrite"]
    result = call(*fit, *([] if column == "label" else ["--label-column", column]))
    assert "40 cutouts" in result.output
    wrong = call(*fit, "--label-column", "no", status=2)
    assert f"no 'no' for --label-column; there are file, {column}" in wrong.output


def test_a_run_starts_from_a_model_of_the_same_architecture(
    galaxies: Path, model_file: Path, tmp_path: Path
) -> None:
    run = ("pretrain", galaxies / "train", "--batch-size", 8, "--epochs", 1e-9, "-q")
    began_with = call(*run, "--init", model_file, "-o", tmp_path / "run").output
    began = read_model(model_file).encoder.state_dict()
    ended = read_model(tmp_path / "run" / "model.safetensors").encoder.state_dict()
    distance = {k: float((ended[k].float() - began[k].float()).abs().max()) for k in began}
    assert distance["vit_branch.pos_embed"] < 0.01  # one step away, not a random start
    assert distance["vit_branch.pos_embed"] > 0
    assert "know images of mean (0.1, 0.2, 0.3) and std (0.2, 0.25, 0.3), and the" in began_with
    wrong = call(*run, "--init", model_file, "--recipe", "wei2022", "-o", tmp_path / "w", status=1)
    assert "is of fused_fast, and the recipe trains wei2022" in wrong.output
    wrong = call(*run, "--init", "model.onnx", "-o", tmp_path / "w", status=1)
    assert "model.onnx: an ONNX file cannot be trained" in wrong.output


def test_a_head_is_judged_by_held_out_labels(
    galaxies: Path, model_file: Path, tmp_path: Path
) -> None:
    fit = ("fit", "folders", galaxies / "train", "--model", model_file, "-q")
    result = call(*fit, "-o", tmp_path / "h.safetensors", "--held-out", 0.3, status=1)
    assert "rows with held-out labels are too few to calibrate on; 50 are needed" in result.output
    result = call(*fit, "-o", tmp_path / "h.safetensors")
    assert "cross-validation on these" in result.output


def test_no_more_labels_are_held_out_than_in_the_training(
    galaxies: Path, model_file: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known.safetensors"
    history = {"pretraining": {"recipe": {"hold_out": 0.25}}}
    write_model(known, replace(read_model(model_file), provenance=history))
    fit = ("fit", "folders", galaxies / "train", "--model", known, "-q")
    fit += ("-o", tmp_path / "h.safetensors", "--held-out")
    result = call(*fit, 0.3, status=2)
    assert "--held-out 0.3: the recipe of 'fused_fast' held out 0.25 of the" in result.output
    assert "too few to calibrate on" in call(*fit, 0.25, status=1).output


def test_a_head_remembers_the_field_of_its_model(
    galaxies: Path, model_file: Path, tmp_path: Path
) -> None:
    """A model that is exported again for another field changes nothing for it."""
    head, output = tmp_path / "h.safetensors", tmp_path / "t.csv"
    fit = ("fit", "folders", galaxies / "train", "-q", "-o", head, "--model", model_file)
    fit += ("--overwrite",)
    assert ", crop 0.5\n" in call(*fit).output
    assert read_heads(head).heads["h"].crop == 0.5
    model, wide = read_model(model_file), tmp_path / "wide.safetensors"
    write_model(wide, replace(model, preprocessing=replace(model.preprocessing, crop=0.9)))
    image = next((galaxies / "test").rglob("*.png"))
    call("classify", image, "--head", head, "--model", wide, "-o", output, "-q")
    with output.open(newline="") as file:
        assert float(next(csv.DictReader(file))["crop"]) == pytest.approx(0.5, abs=0.02)
    found = call(*fit, "--fov", 20, "--pixel-scale", 0.5).output
    assert ", field of view 20.0 arcsec\n" in found
    assert read_heads(head).heads["h"].crop is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "folders", "x"], "Give -o FILE for a head of its own"),
        (["fit", "folders", "x", "-o", "head.pt"], "must end in .safetensors"),
        (["fit", "folders", "-o", "h.safetensors"], "Give DATA, or --path-column"),
        (["fit", "folders", "x", "--add-to", "m.safetensors"], "--add-to needs --name"),
        (["evaluate", "folders", "x", "--merge", "a"], "a merge reads NEW=OLD+OLD"),
        (["evaluate", "folders", "x", "--select-crop", "1,2"], "--select-crop needs --folds"),
        (["evaluate", "folders", "x", "--protocols", "svm"], "No protocol 'svm'"),
        (["evaluate", "folders", "x", "--train-labels", "y"], "needs --train-data"),
        (["fit", "folders", "x", "-o", "h.safetensors", "--seed", "-1"], "at least 0, not -1"),
        (["evaluate", "folders", "x", "--seed", "-1"], "at least 0, not -1"),
        (["pretrain", "x", "-o", "run", "--seed", "-1"], "at least 0, not -1"),
        (["pretrain", "-o", "run"], "Give DATA to train on"),
        (["pretrain", "x", "-o", "run", "--resume", "--init", "c.pt"], "--resume or --init"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(arguments: list[str], message: str) -> None:
    assert message in call(*arguments, status=2).output


def test_pretrain_makes_no_folder_for_images_that_are_not_there(tmp_path: Path) -> None:
    result = call("pretrain", tmp_path / "nothere", "-o", tmp_path / "run", status=2)
    assert "nothere: there is no such file or folder" in result.stderr
    assert not (tmp_path / "run").exists()


def test_foreign_classes_are_explained(
    head_file: Path, model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    result = call(
        "evaluate",
        "folders",
        galaxies / "test",
        "--model",
        model_file,
        "--head",
        head_file,
        "--merge",
        "flat=edge_on",
        "-q",
    )
    assert "linear head 'mine' on the test set" in result.output
    result = call(
        "evaluate",
        "folders",
        galaxies / "test",
        "--model",
        model_file,
        "--head",
        "test",
        "--merge",
        "face_on=round+spiral",
        "--classes",
        "round,edge_on",
        "-o",
        report,
        "--overwrite",
        "-q",
    )
    assert "linear head 'test' on the test set" in result.output
    by_head, by_neighbours = json.loads(report.read_text())["results"]
    assert by_head["class_names"] == ["face_on", "edge_on"]
    assert by_neighbours["class_names"] == ["face_on", "edge_on"]
    result = call(
        "evaluate",
        "folders",
        galaxies / "test",
        "--model",
        model_file,
        "--head",
        head_file,
        "--merge",
        "face-on=round",
        "--merge",
        "late=edge_on",
        "-o",
        report,
        "--overwrite",
        "-q",
    )
    assert "linear head 'mine' on the test set" in result.output
    assert json.loads(report.read_text())["results"][0]["class_names"] == ["late", "face_on"]
    table = galaxies / "other.csv"
    table.write_text("object_id,label\nround50,ring\nedge_on150,edge_on\n")
    result = call(
        "evaluate",
        table,
        galaxies / "test",
        "--model",
        model_file,
        "--head",
        head_file,
        "-q",
        "--protocols",
        "head",
        status=1,
    )
    assert "has the classes ring, which are not among edge_on, round" in result.output
    assert "--merge" in result.output


def test_pretrain_resume_and_export(
    galaxies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in sorted((galaxies / "train").rglob("*.png"))[::5]:
        (data / path.name).write_bytes(path.read_bytes())
    (data / "bad.png").write_bytes(b"no picture")
    run = tmp_path / "run"
    common = ["pretrain", data, "-o", run, "--batch-size", 4, "--precision", "float32", "-q"]
    result = call(*common, "--epochs", 0.5, "--half", "--name", "mine")
    assert "1 image skipped" in result.output
    assert "bad.png" in (run / "skipped.txt").read_text()
    assert len((run / "log.jsonl").read_text().splitlines()) == 1
    model = read_model(run / "model.safetensors")
    assert (model.name, model.architecture) == ("mine", "fused_fast")
    assert model.provenance["pretraining"]["images"] == 8
    assert "holds a run" in call(*common, status=2).output
    assert "another recipe" in call(*common, "--resume", status=1).output
    call("pretrain", "-o", run, "--export", tmp_path / "again.safetensors")
    assert read_model(tmp_path / "again.safetensors").name == "run"
    monkeypatch.chdir(run)
    call("pretrain", "-o", ".", "--export", "here.safetensors")
    assert read_model("here.safetensors").name == "run"


def test_curves_among_the_images_are_none_of_them(galaxies: Path, tmp_path: Path) -> None:
    data = shutil.copytree(galaxies / "test" / "round", tmp_path / "data")
    run = data / "run"
    run.mkdir()
    shutil.copy(data / "round50.png", run / "curves.png")
    train = ("pretrain", data, "-o", run, "--batch-size", 8, "--epochs", 1e-9, "-q")
    call(*train)
    call(*train, "--resume")
    assert read_model(run / "model.safetensors").provenance["pretraining"]["images"] == 8


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_says_by_what(
    number: signal.Signals,
    status: int,
    galaxies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = _Log.write

    def write_and_stop(*line: Any) -> None:
        write(*line)
        signal.raise_signal(number)

    monkeypatch.setattr(_Log, "write", write_and_stop)
    train = ("pretrain", galaxies / "train", "-o", tmp_path, "--batch-size", 8, "--epochs", 0.4)
    result = call(*train, status=status)
    assert f"Stopped; go on with: --resume -o {tmp_path}" in result.output
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_a_head_does_not_tell_where_its_data_lay() -> None:
    from galmorph.cli.fit import _short_name

    assert _short_name("/home/someone/survey/gz2/train-00000.tar") == "gz2/train-00000.tar"
    assert _short_name("labels.csv") == "labels.csv"
