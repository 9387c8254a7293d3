"""Contrastive losses against loops over pairs."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch

from galmorph.training.losses import nt_xent, sup_con


def make_unit(n: int, seed: int, d: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(z, dim=1)


@pytest.mark.parametrize("symmetric", [True, False])
def test_nt_xent_agrees_with_a_loop(symmetric: bool) -> None:
    n, temperature = 6, 0.3
    z1, z2 = make_unit(n, 0), make_unit(n, 1)
    z = np.concatenate((z1.numpy(), z2.numpy()))
    losses = []
    for anchor in range(2 * n if symmetric else n):
        positive = (anchor + n) % (2 * n)
        weights = {j: exp(float(z[anchor] @ z[j]) / temperature) for j in range(2 * n)}
        others = sum(w for j, w in weights.items() if j != anchor)
        losses.append(-log(weights[positive] / others))
    got = nt_xent(z1, z2, temperature=temperature, symmetric=symmetric)
    assert float(got) == pytest.approx(np.mean(losses), rel=1e-9)


def test_sup_con_agrees_with_a_loop() -> None:
    temperature = 0.2
    z = make_unit(10, 2)
    labels = [0, 0, 1, 1, 1, -1, 0, 0, 2, -1]
    domains = [0, 0, 0, 0, 1, 0, 1, 1, 0, 1]
    array, losses = z.numpy(), []
    for i in range(10):
        rivals = [j for j in range(10) if j != i and labels[j] >= 0 and domains[j] == domains[i]]
        positives = [j for j in rivals if labels[j] == labels[i]]
        if labels[i] < 0 or not positives:
            continue
        total = sum(exp(float(array[i] @ array[j]) / temperature) for j in rivals)
        terms = [log(exp(float(array[i] @ array[j]) / temperature) / total) for j in positives]
        losses.append(-sum(terms) / len(positives))
    got = sup_con(z, torch.tensor(labels), torch.tensor(domains), temperature=temperature)
    assert len(losses) == 6
    assert float(got) == pytest.approx(np.mean(losses), rel=1e-9)


def test_sup_con_without_pairs_is_zero_and_differentiable() -> None:
    z = make_unit(4, 3).requires_grad_()
    none = torch.tensor([-1, -1, 0, 1])
    loss = sup_con(z, none, torch.zeros(4, dtype=torch.long), temperature=0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert z.grad is not None
    assert not z.grad.any()
