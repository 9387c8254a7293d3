"""Hidden units of heads of votes and numbers: other heads', or learnt for one number."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from galmorph.heads import LinearHead
from galmorph.training.votes import Hidden, deal_folds

Array = np.ndarray[Any, Any]

UNITS, NETWORKS, EPOCHS, BATCH = 64, 4, 40, 256
RATE, DECAY, BESIDE = 3e-3, 0.3, 0.3
"""Learning rate, weight decay, and weight of the other numbers."""


class Network(NamedTuple):
    """Sigmoid units, and what makes a number of them."""

    hidden: Hidden
    weight: Array
    bias: float

    def compute(self, embeddings: Array) -> Array:
        """(..., num_features) to (...)."""
        logits = embeddings @ self.hidden.weight.T + self.hidden.bias
        return np.asarray((0.5 + 0.5 * np.tanh(logits / 2)) @ self.weight + self.bias)


def make_hidden(heads: Iterable[LinearHead]) -> Hidden:
    """A unit for each class of these heads: its logit against the mean of the others."""
    weights, biases = [], []
    for head in heads:
        others = len(head.class_names) / (len(head.class_names) - 1) / head.temperature
        weights.append((head.weight - head.weight.mean(axis=0)) * others)
        biases.append((head.bias - head.bias.mean()) * others)
    return Hidden(
        np.concatenate(weights).astype(np.float32), np.concatenate(biases).astype(np.float32)
    )


def train_network(views: Array, values: Array) -> Network:
    """Small networks' mean: the first of ``values`` (n, t) by the views (n, v, num_features).

    The other numbers, NaN where they are not known, are learnt beside it.
    """
    x = torch.from_numpy(views.reshape(-1, views.shape[-1])).float()
    mean, std = x.mean(dim=0), x.std(dim=0)
    level, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    y = torch.from_numpy(((values - level) / spread).repeat(views.shape[1], axis=0)).float()
    counts = y.isfinite() * torch.tensor([1.0] + [BESIDE] * (values.shape[1] - 1))
    found = [_train((x - mean) / std, y.nan_to_num(), counts, seed) for seed in range(NETWORKS)]
    units, outputs = zip(*found, strict=True)
    weight = torch.cat([each.weight / std for each in units])
    bias = torch.cat([each.bias for each in units]) - weight @ mean
    output = torch.cat([each.weight[0] for each in outputs]) * spread[0] / NETWORKS
    offset = level[0] + spread[0] * np.mean([float(each.bias[0]) for each in outputs])
    return Network(Hidden(weight.numpy(), bias.numpy()), output.numpy(), float(offset))


def _train(x: Any, y: Any, counts: Any, seed: int) -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(seed)
    units, output = nn.Linear(x.shape[1], UNITS), nn.Linear(UNITS, y.shape[1])
    nn.init.normal_(units.weight, 0, x.shape[1] ** -0.5)
    nn.init.zeros_(units.bias)
    parts = [*units.parameters(), *output.parameters()]
    optimizer = torch.optim.AdamW(parts, weight_decay=DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            difference = output(torch.sigmoid(units(x[rows]))) - y[rows]
            loss = (difference.square() * counts[rows]).sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return units.requires_grad_(False), output.requires_grad_(False)


def cross_train(views: Array, values: Array) -> Array:
    """Out of fold, the first number of the first view of each galaxy."""
    fold, found = deal_folds(len(values), 0), np.empty(len(values))
    for number in range(fold.max() + 1):
        left = fold == number
        found[left] = train_network(views[~left], values[~left]).compute(views[left, 0])
    return found
