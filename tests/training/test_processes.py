"""Pretraining in two processes: as in one, resumed exactly, ended together."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from galmorph.errors import TrainingError
from galmorph.training import data as training_data
from galmorph.training.checkpoint import load_checkpoint
from galmorph.training.data import SharedSet, TrainingSet, share_set
from galmorph.training.loop import read_log
from galmorph.training.processes import _describe_end, _explain, _Failure, run_in_processes
from galmorph.training.ranks import Ranks, SharedBatchNorm, share_batch_norm
from galmorph.training.recipe import Recipe
from galmorph.training.views import ViewOptions, make_views
from tests.training.tiny import TinyTraining

STATE = ("encoder", "projection", "classifiers", "expander", "average")


@pytest.fixture
def uneven(recipe: Recipe) -> Recipe:
    """Four steps of five images, three of them for the first process; everything switched on."""
    return replace(
        recipe,
        batch_size=5,
        epochs=2,
        optimizer="sgd",  # AdamW makes steps of the rounding where a gradient is 0
        lr=0.01,
        vicreg_weight=0.1,
        cross_entropy_weight=1.0,
        hold_out=0.2,
        average=0.5,
        views=ViewOptions(cut=0.5, contrast=0.2, hue=0.1, jitter=0.7),
    )


@pytest.fixture
def shared(training_set: TrainingSet) -> SharedSet:
    return share_set(training_set)


def test_two_processes_train_as_one_does_and_resume_exactly(
    shared: SharedSet, uneven: Recipe, tmp_path: Path
) -> None:
    """Broken off by an error, resumed, stopped after a step, resumed again."""
    one, two, cut = (TinyTraining(shared, uneven, tmp_path / name) for name in ("1", "2", "cut"))
    assert one(Ranks(), lambda: False)
    assert run_in_processes(two, 2)
    message = (
        r"process 2 of 2 failed: ZeroDivisionError: nobody expects this; the others have been ended"
    )
    with pytest.raises(TrainingError, match=message) as caught:
        run_in_processes(replace(cut, fail_at=2), 2)
    assert "in check" in caught.value.__notes__[0]
    assert load_checkpoint(cut.folder)["step"] == 1
    reached_end = run_in_processes(cut, 2, should_stop=lambda: True)
    stopped = load_checkpoint(cut.folder)["step"]
    assert 2 <= stopped <= 4  # the stop is heard when the processes have started
    assert reached_end == (stopped == 4)
    assert run_in_processes(cut, 2)
    assert not multiprocessing.active_children()

    states = [load_checkpoint(training.folder) for training in (one, two, cut)]
    for part in STATE:
        for key, whole in states[1][part].items():
            assert torch.equal(whole, states[2][part][key]), (part, key)
            torch.testing.assert_close(
                states[0][part][key], whole, rtol=1e-3, atol=1e-4, msg=lambda m, k=key: f"{k}: {m}"
            )
    logs = [read_log(training.folder) for training in (one, two, cut)]
    assert logs[1] == logs[2]
    for line, other in zip(logs[0], logs[1], strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=2e-5)


def test_several_views_of_an_image_in_two_processes(
    shared: SharedSet, uneven: Recipe, tmp_path: Path
) -> None:
    many = replace(uneven, vicreg_weight=0.0, views_per_image=3)
    one, two = (TinyTraining(shared, many, tmp_path / name) for name in ("1", "2"))
    assert one(Ranks(), lambda: False)
    assert run_in_processes(two, 2)
    losses = [[line["loss"] for line in read_log(run.folder)] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-5)


def test_a_part_of_a_batch_has_the_views_of_the_whole(shared: SharedSet) -> None:
    options = ViewOptions(cut=0.5, contrast=0.2, hue=0.1, jitter=0.7)
    rows = torch.tensor([1, 4, 7])

    def see(**part: Any) -> torch.Tensor:
        images = shared.images if not part else shared.images[rows]
        generator = torch.Generator().manual_seed(3)
        return make_views(images, img_size=16, options=options, generator=generator, **part)

    torch.testing.assert_close(see(rows=rows, total=12), see()[rows])


def test_shares_are_all_rows_in_order() -> None:
    shares = [Ranks(rank, 3).share(8) for rank in range(3)]
    assert [len(share) for share in shares] == [3, 3, 2]
    assert torch.equal(torch.cat(shares), torch.arange(8))


def test_shared_normalization_evaluates_as_before() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    network(torch.randn(5, 3, 2, 2))
    x = torch.randn(2, 3, 2, 2)
    expected, state = network.eval()(x), dict(network.state_dict())
    share_batch_norm(network)
    assert isinstance(network[1][0], SharedBatchNorm)
    assert torch.equal(network.eval()(x), expected)
    assert list(network.state_dict()) == list(state)
    assert all(torch.equal(network.state_dict()[key], state[key]) for key in state)


def test_the_first_cause_is_told() -> None:
    late = _Failure(0, "failed: RuntimeError: connection closed", "traceback", when=2.0)
    early = _Failure(1, "the loss of step 3 is nan", when=1.0)
    assert str(_explain([late, early], 2, "resume")) == "the loss of step 3 is nan"
    lost = _Failure(1, _describe_end(-9), when=3.0, lost=True)
    assert str(_explain([late, lost], 2, "resume")).startswith(
        "process 2 of 2 was ended by SIGKILL (too"
    )
    assert "status 3" in _describe_end(3)


def test_images_are_sent_without_a_copy(shared: SharedSet, training_set: TrainingSet) -> None:
    assert shared.images.is_shared()
    assert not len(shared.rest)
    opened = shared.open()
    assert (opened.images == training_set.images).all()
    assert opened.names == training_set.names
    assert opened.images.ctypes.data == shared.images.data_ptr()


def test_too_little_shared_memory_is_said(
    training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training_data, "SHARED_MEMORY", tmp_path)
    full = SimpleNamespace(free=0)
    monkeypatch.setattr(training_data.shutil, "disk_usage", lambda path: full)
    with pytest.raises(TrainingError, match=r"0\.00 GB of shared memory.*--processes 1"):
        share_set(training_set)
