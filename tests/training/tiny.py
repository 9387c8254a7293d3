"""A tiny encoder, and a run of it as one of the processes that torchrun starts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from galmorph.encoders import registry
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.data import TrainingSet
from galmorph.training.loop import pretrain
from galmorph.training.ranks import join_ranks
from galmorph.training.recipe import load_recipe


class TinyEncoder(torch.nn.Module):
    """One convolution with batch normalization: quick, but with all kinds of state."""

    img_size = 16
    num_features = 32

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 5, stride=2)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3))
        return self.head(features)


def train(recipe: Path, folder: Path, stop_at: int) -> None:
    """Train on noise, from the checkpoint if there is one; the last process asks for a stop."""
    registry._ENCODERS["tiny"] = TinyEncoder  # type: ignore[assignment]
    torch.set_num_threads(1)
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 24, 24), dtype=np.uint8)
    names = tuple(map(str, range(12)))
    labels, domains = np.arange(12) % 2, np.zeros(12, dtype=int)
    data = TrainingSet(images, labels, domains, (("a", "b"),), names, ())
    with join_ranks() as ranks:
        run = PretrainingRun(data, load_recipe(str(recipe)), precision="float32", ranks=ranks)
        if (folder / "checkpoint.pt").exists():
            run.restore(folder)
        last = ranks.rank == ranks.count - 1
        pretrain(run, folder, should_stop=lambda: last and run.step == stop_at)


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
