"""Pretraining in two processes of torchrun: the loss of the whole batch, resumed exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from galmorph.errors import TrainingError
from galmorph.training.checkpoint import load_checkpoint
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.data import TrainingSet
from galmorph.training.loop import read_log
from galmorph.training.losses import nt_xent
from galmorph.training.ranks import Ranks, join_ranks
from galmorph.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
RECIPE = """
architecture = "tiny"
batch_size = 4
epochs = 2
frame_size = 24
vicreg_weight = 0.1
sup_con_weight = 0.5
cross_entropy_weight = 1.0
hold_out = 0.2
average = 0.5
"""


def launch(*arguments: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_stop_together_and_resume_exactly(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    tiny = ROOT / "tests" / "training" / "tiny.py"
    launch(tiny, recipe, tmp_path / "whole", -1)
    launch(tiny, recipe, tmp_path / "cut", 2)
    assert load_checkpoint(tmp_path / "cut")["step"] == 2
    launch(tiny, recipe, tmp_path / "cut", -1)
    whole, cut = (load_checkpoint(tmp_path / name) for name in ("whole", "cut"))
    for part in ("encoder", "projection", "classifiers", "expander", "average"):
        for key, tensor in whole[part].items():
            assert torch.equal(tensor, cut[part][key]), (part, key)
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "cut")
    assert len(read_log(tmp_path / "whole")) == 6


def project(z: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(z @ weight, dim=1)


def compute_gradient(rank: int, views: torch.Tensor, weight: torch.Tensor, meet: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    ranks = Ranks(rank, 2)
    own = torch.cat([ranks.share(side) for side in views])
    parameter = torch.nn.Parameter(weight.clone())
    z = ranks.gather(project(own, parameter), 2)
    nt_xent(*z.chunk(2), temperature=0.5).backward()
    ranks.average_gradients([parameter, torch.nn.Parameter(weight)])
    assert parameter.grad is not None
    torch.save((z.detach(), parameter.grad), f"{meet}.{rank}")
    assert ranks.any(rank == 1)
    assert not ranks.any(False)
    distributed.destroy_process_group()


def test_loss_and_gradient_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(2, 6, 5, generator=generator)
    weight = torch.randn(5, 3, generator=generator).requires_grad_()
    alone = project(views.flatten(0, 1), weight)
    nt_xent(*alone.chunk(2), temperature=0.5).backward()
    meet = tmp_path / "meet"
    multiprocessing.spawn(compute_gradient, (views, weight.detach(), str(meet)), nprocs=2)
    for rank in range(2):
        z, gradient = torch.load(f"{meet}.{rank}", weights_only=True)
        torch.testing.assert_close(z, alone.detach())
        torch.testing.assert_close(gradient, weight.grad)


def test_the_command_trains_under_torchrun(galaxies: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ("--batch-size", 8, "--epochs", 0.2, "--precision", "float32", "--device", "cpu")
    launch("-m", "galmorph", "pretrain", galaxies / "train", "-o", run, *small)
    assert (run / "model.safetensors").exists()
    assert [line["step"] for line in read_log(run)] == [1]


def test_one_process_alone_exchanges_nothing() -> None:
    with join_ranks() as ranks:
        assert ranks == Ranks(0, 1)
        x = torch.randn(4, 2)
        assert ranks.leads and ranks.gather(x, 2) is x and ranks.any(True)
        assert ranks.place("cuda") == "cuda"


def test_shares_are_all_rows_in_order() -> None:
    rows = torch.arange(6)
    assert torch.equal(torch.cat([Ranks(rank, 3).share(rows) for rank in range(3)]), rows)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(
    training_set: TrainingSet, recipe: Recipe
) -> None:
    with pytest.raises(TrainingError, match="3 processes cannot share batches of 5 evenly"):
        PretrainingRun(training_set, replace(recipe, batch_size=5), ranks=Ranks(0, 3))
