"""Model files of a run: heads that are in them already, and what a checkpoint is taken for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_model import make_model

from galmorph.errors import CheckpointError, TrainingError
from galmorph.model import read_model, write_model
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.data import TrainingSet
from galmorph.training.export import add_to_model, build_model, carry_heads, check_replaceable
from galmorph.training.recipe import Recipe
from galmorph.weights.verify import check_whole
from tests.training.commands import call


def test_heads_outlast_the_run_that_made_their_encoder(galaxies: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    file = run / "model.safetensors"
    train = ("pretrain", galaxies / "train", "--batch-size", 8, "--precision", "float32", "-q")
    call(*train, "--epochs", 0.2, "-o", run)
    fit = ("fit", "folders", galaxies / "train", "--add-to", file, "--name", "mine", "-q")
    call(*fit, "--typicality")
    before = read_model(file)
    call(*train, "--epochs", 0.2, "-o", run, "--resume")
    call("pretrain", "-o", run, "--export", file, "--half")
    call("pretrain", "-o", run, "--export", file)
    after = read_model(file)
    np.testing.assert_array_equal(after.heads["mine"].weight, before.heads["mine"].weight)
    assert before.typicality is not None and after.typicality is not None
    np.testing.assert_array_equal(after.typicality.references, before.typicality.references)

    call("pretrain", "-o", run, "--export", file, "--crop", 0.2)
    other = read_model(file)
    assert other.preprocessing.crop == 0.2
    assert other.heads["mine"].crop == before.preprocessing.crop
    assert other.typicality is None  # of another field

    (run / "checkpoint.pt").unlink()
    result = call(*train, "--epochs", 0.2, "-o", run, status=1)
    assert "holds the heads mine of another encoder" in result.output
    assert not (run / "checkpoint.pt").exists()  # refused before the training
    assert set(read_model(file).heads) == {"mine"}


def test_heads_of_another_encoder_are_not_replaced(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    run = PretrainingRun(training_set, recipe, precision="float32")
    run.advance()
    run.save(tmp_path)
    file, head = tmp_path / "model.safetensors", make_model().heads["test"]
    head = replace(head, weight=head.weight[:, :32])  # the tiny encoder has 32 features
    check_replaceable(file, tmp_path)  # nothing is there
    write_model(file, build_model(tmp_path, name="m"))
    check_replaceable(file, tmp_path)  # nothing is lost
    add_to_model(file, {"own": head})
    with pytest.raises(TrainingError, match=r"holds the heads own of another .*--export"):
        check_replaceable(file, tmp_path)  # the training goes on to another encoder
    assert set(carry_heads(build_model(tmp_path, name="m"), file).heads) == {"own"}
    while run.step < run.steps:
        run.advance()
    run.save(tmp_path)
    check_replaceable(file, tmp_path)
    with pytest.raises(TrainingError, match=r"holds the heads own of another .*--export"):
        carry_heads(build_model(tmp_path, name="m"), file)


def test_a_file_that_is_no_model_is_replaced(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    PretrainingRun(training_set, recipe, precision="float32").save(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"damaged")
    check_replaceable(file, tmp_path)
    model = build_model(tmp_path, name="m")
    assert carry_heads(model, file) is model


def test_a_checkpoint_is_no_model_and_says_the_way(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    run = PretrainingRun(training_set, recipe, precision="float32")
    run.advance()
    run.save(tmp_path)
    message = rf"is a pickled checkpoint.*galmorph pretrain -o {tmp_path} --export"
    with pytest.raises(CheckpointError, match=message):
        check_whole(tmp_path / "checkpoint.pt")
