"""Means of small networks on embeddings, for a number that a linear map tells badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

Array = np.ndarray[Any, Any]

UNITS, NETS, EPOCHS, BATCH = 64, 6, 60, 128
RATE, DECAY, NOISE = 3e-3, 1e-3, 0.1
"""Noise of so many standard deviations on every feature."""


@dataclass(frozen=True)
class SmallNets:
    """Sigmoid units (h, d) with biases (h,), their weights (h,), and a linear part (d,)."""

    hidden_weight: Array
    hidden_bias: Array
    units: Array
    linear: Array
    bias: float

    def tell(self, embeddings: Array) -> Array:
        """Numbers (n,)."""
        hidden = 0.5 + 0.5 * np.tanh((embeddings @ self.hidden_weight.T + self.hidden_bias) / 2)
        return np.asarray(hidden @ self.units + embeddings @ self.linear + self.bias)


def fit_nets(views: Array, values: Array, seed: int, nets: int = NETS) -> SmallNets:
    """The mean of several, on embeddings (n, views, d) of which each pass takes a view by chance."""
    mean, std = views.mean(axis=(0, 1)), views.std(axis=(0, 1))
    x = torch.from_numpy((views - mean) / std).float()
    level, spread = float(values.mean()), float(values.std())
    y = torch.from_numpy((values - level) / spread).float()
    parts = [_fit_net(x, y, seed * 1000 + k) for k in range(nets)]
    hidden = np.concatenate([net[0].weight.numpy() for net, _ in parts]) / std
    biases = np.concatenate([net[0].bias.numpy() for net, _ in parts]) - hidden @ mean
    units = np.concatenate([net[2].weight.numpy()[0] for net, _ in parts]) * spread / nets
    linear = np.mean([skip.weight.numpy()[0] for _, skip in parts], axis=0) * spread / std
    constant = float(np.mean([net[2].bias.item() + skip.bias.item() for net, skip in parts]))
    return SmallNets(hidden, biases, units, linear, constant * spread + level - linear @ mean)


def _fit_net(x: torch.Tensor, y: torch.Tensor, seed: int) -> tuple[nn.Sequential, nn.Linear]:
    torch.manual_seed(seed)
    d = x.shape[2]
    net = nn.Sequential(nn.Linear(d, UNITS), nn.Sigmoid(), nn.Linear(UNITS, 1))
    nn.init.normal_(net[0].weight, 0, d**-0.5)
    skip = nn.Linear(d, 1)
    nn.init.zeros_(skip.weight)
    optimizer = torch.optim.AdamW(
        [*net.parameters(), *skip.parameters()], lr=RATE, weight_decay=DECAY
    )
    steps = len(x) // BATCH
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        order, view = torch.randperm(len(x)), torch.randint(0, x.shape[1], (len(x),))
        for rows in order[: steps * BATCH].split(BATCH):
            batch = x[rows, view[rows]] + NOISE * torch.randn(BATCH, d)
            loss = (net(batch) + skip(batch))[:, 0].sub(y[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return net.requires_grad_(False), skip.requires_grad_(False)
