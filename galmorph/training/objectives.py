"""MoCo's queue beside or in place of NT-Xent. Label-free, one process."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Moco"]

MOMENTUM = 0.99
"""Of the slowly moving copy, per step."""

QUEUE = 4096
"""Keys of earlier steps that a MoCo anchor is told from."""


class _Momentum(nn.Module):
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

    def forward(self, z: Tensor, views: Tensor) -> Tensor:
        """Loss of 2n unit projections, the first views of n images before their second ones."""
        keys = self.compute_targets(views)
        positive = (z * keys).sum(dim=1, keepdim=True)
        logits = torch.cat((positive, z @ self.queue.T), dim=1) / self.temperature
        self.queue = torch.cat((keys, self.queue))[:QUEUE]
        return F.cross_entropy(logits, logits.new_zeros(len(z), dtype=torch.long))
