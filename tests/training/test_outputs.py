"""Pretraining whose folder cannot be written to, or no longer."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import pytest

from galmorph.errors import OutputError
from galmorph.training.checkpoint import load_checkpoint
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.data import TrainingSet
from galmorph.training.loop import _Log, pretrain, read_log
from galmorph.training.recipe import Recipe
from tests.training.commands import call


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more can be written after ten bytes."""

    usual = Path.open

    def fill_up(self: Path, mode: str = "r", **options: Any) -> IO[Any]:
        file = usual(self, mode, **options)
        write = file.write

        def refuse(content: Any) -> int:
            write(content[:10])
            raise OSError(28, "No space left on device")

        if mode != "r":
            file.write = refuse  # type: ignore[method-assign]
        return file

    monkeypatch.setattr(Path, "open", fill_up)


def test_no_image_is_read_for_a_folder_that_cannot_be_made(galaxies: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = call("pretrain", galaxies / "train", "-o", tmp_path / "file" / "run", status=2)
    assert "its folder cannot be made" in result.output
    assert "images" not in result.output
    wrong = tmp_path / "file" / "m.safetensors"
    result = call("pretrain", "-o", tmp_path / "run", "--export", wrong, status=2)
    assert "its folder cannot be made" in result.output


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = PretrainingRun(training_set, recipe, precision="float32")
    run.save(tmp_path)
    request.getfixturevalue("full_disk")
    run.step = 3
    with pytest.raises(OutputError, match=r"checkpoint\.pt: cannot be written"):
        run.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert load_checkpoint(tmp_path)["step"] == 0


@pytest.mark.usefixtures("full_disk")
def test_a_log_that_cannot_be_written_ends_the_run_with_the_reason(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    run = PretrainingRun(training_set, recipe, precision="float32")
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot be written .No space") as caught:
        pretrain(run, tmp_path)
    assert "float32" not in str(caught.value)


def test_a_log_is_shortened_whole_or_not_at_all(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    log = _Log(tmp_path, 0)
    for step in (1, 2, 3):
        log.write(step, 0.5, 0.1, None)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3]
    request.getfixturevalue("full_disk")
    with pytest.raises(OutputError, match="cannot be written"):
        _Log(tmp_path, 2)
    assert len(read_log(tmp_path)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
