"""The projection head of a checkpoint, for the model that was made of it and for no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from galmorph.errors import TrainingError
from galmorph.model import read_model, write_model
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.data import TrainingSet
from galmorph.training.export import build_model, load_projection
from galmorph.training.recipe import Recipe
from tests.training.commands import call


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_knows_the_model_that_was_made_of_it(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path, average: float, half: bool
) -> None:
    run = PretrainingRun(training_set, replace(recipe, average=average), precision="float32")
    run.advance()
    run.save(tmp_path)
    write_model(tmp_path / "m.safetensors", build_model(tmp_path, name="m"), half=half)
    model = read_model(tmp_path / "m.safetensors")
    head = load_projection(tmp_path / "checkpoint.pt", model=model)
    assert not head.training
    run.advance()
    run.save(tmp_path)
    with pytest.raises(TrainingError, match="its encoder is not that of the model 'm'"):
        load_projection(tmp_path / "checkpoint.pt", model=model)


def test_a_projection_that_no_loss_has_trained_is_refused(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    off = {"nt_xent_weight": 0.0, "sup_con_weight": 0.0}
    for name in ("vicreg_weight", "cross_entropy_weight"):
        others = replace(recipe, **off, **{name: 1.0})
        run = PretrainingRun(training_set, others, precision="float32")
        run.save(tmp_path)
        with pytest.raises(TrainingError, match="does not train the projection head .*leave out"):
            load_projection(tmp_path, model=build_model(tmp_path, name="m"))


def test_evaluate_refuses_the_checkpoint_of_another_model(
    model_file: Path, galaxies: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    run, report = tmp_path / "run", tmp_path / "r.json"
    train = ("pretrain", galaxies / "train", "--recipe", "contrastive", "--batch-size", 8)
    call(*train, "--epochs", 1e-9, "-q", "-o", run)
    own = run / "model.safetensors"
    call("export", "--model", own, "-o", tmp_path / "own.onnx")
    call("export", "--model", model_file, "-o", tmp_path / "other.onnx")
    where = ["evaluate", "folders", galaxies / "test", "--checkpoint", run / "checkpoint.pt"]
    where += ["--neighbours", 3, "-o", report, "--overwrite", "-q"]
    for model in (own, tmp_path / "own.onnx"):
        call(*where, "--model", model)
        names = [result["protocol"] for result in json.loads(report.read_text())["results"]]
        assert ["on the embedding" in names[0], "on the projection" in names[1]] == [True, True]
    for model in (model_file, tmp_path / "other.onnx"):
        result = call(*where, "--model", model, status=1)
        assert "its encoder is not that of the model 'fused_fast'" in result.output
        assert "accuracy" not in result.output
