"""A tiny encoder and runs of it, for processes that have nothing but what they can import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from galmorph.encoders import registry
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.data import SharedSet
from galmorph.training.loop import pretrain
from galmorph.training.ranks import Ranks
from galmorph.training.recipe import Recipe


class TinyEncoder(torch.nn.Module):
    """One convolution with batch normalization: quick, but with all kinds of state."""

    img_size = 16
    num_features = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 5, stride=2)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3))
        return self.head(features)


@dataclass(frozen=True)
class TinyTraining:
    """A run of the tiny encoder, from its checkpoint if there is one.

    At step ``fail_at`` the last of the processes raises what nobody expects.
    """

    data: SharedSet
    recipe: Recipe
    folder: Path
    fail_at: int | None = None

    def __call__(self, ranks: Ranks, should_stop: Callable[[], bool]) -> bool:
        registry._ENCODERS["tiny"] = TinyEncoder  # type: ignore[assignment]
        torch.set_num_threads(1)
        run = PretrainingRun(self.data.open(), self.recipe, precision="float32", ranks=ranks)
        if (self.folder / "checkpoint.pt").exists():
            run.restore(self.folder)

        def check() -> bool:
            if run.step == self.fail_at and ranks.rank == ranks.count - 1:
                raise ZeroDivisionError("nobody expects this")
            return should_stop()

        return pretrain(run, self.folder, save_every=0, should_stop=check)
