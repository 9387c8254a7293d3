"""Contrastive losses against loops over pairs."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch

from galmorph.training.losses import classifier_loss, nt_xent, sup_con, vicreg


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


def test_of_two_views_sup_con_by_image_is_nt_xent() -> None:
    z1, z2 = make_unit(6, 0), make_unit(6, 1)
    image = torch.arange(6).repeat(2)
    got = sup_con(torch.cat((z1, z2)), image, torch.zeros_like(image), temperature=0.3)
    assert float(got) == pytest.approx(float(nt_xent(z1, z2, temperature=0.3)), rel=1e-9)


def test_sup_con_without_pairs_is_zero_and_differentiable() -> None:
    z = make_unit(4, 3).requires_grad_()
    none = torch.tensor([-1, -1, 0, 1])
    loss = sup_con(z, none, torch.zeros(4, dtype=torch.long), temperature=0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert z.grad is not None
    assert not z.grad.any()


def test_classifier_loss_agrees_with_a_loop() -> None:
    torch.manual_seed(0)
    classifiers = torch.nn.ModuleList(
        [torch.nn.Linear(5, 3), torch.nn.Identity(), torch.nn.Linear(5, 2)]
    ).double()
    x = make_unit(7, 4)
    labels, domains = [0, 2, -1, 1, 0, -1, 1], [0, 0, 0, 2, 2, 1, 0]
    losses = []
    for row, label, domain in zip(x, labels, domains, strict=True):
        if label >= 0:
            logits = classifiers[domain](row).detach().numpy()
            losses.append(-log(exp(logits[label]) / sum(exp(v) for v in logits)))
    got = classifier_loss(classifiers, x, torch.tensor(labels), torch.tensor(domains))
    assert len(losses) == 5
    assert float(got.detach()) == pytest.approx(np.mean(losses), rel=1e-9)


def test_classifier_loss_without_labels_is_zero_and_differentiable() -> None:
    x = make_unit(2, 5).requires_grad_()
    none = torch.tensor([-1, -1])
    loss = classifier_loss(torch.nn.ModuleList([torch.nn.Linear(5, 2)]), x, none, none + 1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert x.grad is not None


def test_vicreg_agrees_with_a_loop_over_features() -> None:
    generator = torch.Generator().manual_seed(5)
    y1, y2 = (
        s * torch.randn(8, 4, generator=generator, dtype=torch.float64) + 3 for s in (0.5, 0.9)
    )
    agree = np.mean((y1.numpy() - y2.numpy()) ** 2)
    spread, crossed = 0.0, 0.0
    for y in (y1.numpy(), y2.numpy()):
        table = np.cov(y, rowvar=False)
        for i in range(4):
            spread += max(0.0, 1 - (table[i, i] + 1e-4) ** 0.5) / 4 / 2
            crossed += sum(table[i, j] ** 2 for j in range(4) if j != i) / 4
    assert spread > 0.1
    want = 25 * agree + 25 * spread + crossed
    assert float(vicreg(y1, y2)) == pytest.approx(want, rel=1e-9)


def test_vicreg_does_not_let_the_embedding_collapse() -> None:
    same = torch.ones(8, 4, requires_grad=True)
    loss = vicreg(same, same)
    assert float(loss.detach()) == pytest.approx(25, rel=0.02)
    loss.backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()
