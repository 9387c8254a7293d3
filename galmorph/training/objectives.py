"""Objectives in place of NT-Xent: MoCo's queue, BYOL, VICReg. Label-free, one process."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from galmorph.encoders.fused import ProjectionHead

__all__ = ["OBJECTIVES", "Byol", "Moco", "Objective", "VicReg"]

MOMENTUM = 0.99
"""Of the slowly moving copy, per step."""

QUEUE = 4096
"""Keys of earlier steps that a MoCo anchor is told from."""


class Objective(nn.Module):
    """A loss of the embeddings of two views, with whatever it trains or keeps beside them."""

    def forward(self, embedding: Tensor, z: Tensor, views: Tensor) -> Tensor:
        """Loss of 2n views, the first views of n images before their second ones.

        Parameters
        ----------
        embedding : Tensor, shape (2n, num_features)
        z : Tensor, shape (2n, d)
            Their projections, unit length.
        views : Tensor, shape (2n, 3, height, width)
            Normalized, as the encoder saw them.
        """
        raise NotImplementedError

    def follow(self, encoder: nn.Module, projection: nn.Module) -> None:
        """Take note of a step."""


class _Momentum(Objective):
    """An objective that compares with a slowly moving copy of encoder and projection."""

    def __init__(self, encoder: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        networks = nn.ModuleList((copy.deepcopy(encoder), copy.deepcopy(projection)))
        self.slow = networks.requires_grad_(False)

    @torch.no_grad()
    def compute_targets(self, views: Tensor) -> Tensor:
        """Projections by the copy, of each image's other view."""
        self.slow.train()
        encoder, projection = self.slow
        n = len(views) // 2
        return F.normalize(projection(encoder(views)).float(), dim=1).roll(n, 0)

    @torch.no_grad()
    def follow(self, encoder: nn.Module, projection: nn.Module) -> None:
        for slow, fast in zip(self.slow, (encoder, projection), strict=True):
            for target, source in zip(slow.parameters(), fast.parameters(), strict=True):
                target.lerp_(source, 1 - MOMENTUM)


class Moco(_Momentum):
    """Each view is told from the queued projections of earlier steps (He et al. 2020, CVPR)."""

    queue: Tensor

    def __init__(self, encoder: nn.Module, projection: nn.Module, temperature: float) -> None:
        super().__init__(encoder, projection)
        self.temperature = temperature
        self.register_buffer("queue", F.normalize(torch.randn(QUEUE, 128), dim=1))

    def forward(self, embedding: Tensor, z: Tensor, views: Tensor) -> Tensor:
        keys = self.compute_targets(views)
        positive = (z * keys).sum(dim=1, keepdim=True)
        logits = torch.cat((positive, z @ self.queue.T), dim=1) / self.temperature
        self.queue = torch.cat((keys, self.queue))[:QUEUE]
        return F.cross_entropy(logits, logits.new_zeros(len(z), dtype=torch.long))


class Byol(_Momentum):
    """Each view predicts the slow copy's projection of the other one (Grill et al. 2020)."""

    def __init__(self, encoder: nn.Module, projection: nn.Module) -> None:
        super().__init__(encoder, projection)
        self.predictor = ProjectionHead(128, 512, 128)

    def forward(self, embedding: Tensor, z: Tensor, views: Tensor) -> Tensor:
        predicted = F.normalize(self.predictor(z).float(), dim=1)
        return 2 - 2 * (predicted * self.compute_targets(views)).sum(dim=1).mean()


class VicReg(Objective):
    """Invariance, variance, covariance (Bardes et al. 2022, ICLR), weights 25, 25 and 1."""

    def __init__(self, num_features: int, expanded: int = 1024) -> None:
        super().__init__()
        self.expander = nn.Sequential(
            nn.Linear(num_features, expanded),
            nn.BatchNorm1d(expanded),
            nn.ReLU(),
            nn.Linear(expanded, expanded),
        )

    def forward(self, embedding: Tensor, z: Tensor, views: Tensor) -> Tensor:
        parts = self.expander(embedding.float()).chunk(2)
        loss = 25 * F.mse_loss(*parts)
        for part in parts:
            centred = part - part.mean(dim=0)
            spread = (centred.var(dim=0) + 1e-4).sqrt()
            covariance = centred.T @ centred / (len(part) - 1)
            crossed = covariance.square().sum() - covariance.diagonal().square().sum()
            loss = loss + 12.5 * F.relu(1 - spread).mean() + crossed / part.shape[1]
        return loss


OBJECTIVES = ("nt_xent", "moco", "byol", "vicreg")
