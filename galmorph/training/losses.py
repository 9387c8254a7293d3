"""Losses of two views: contrastive ones on unit projections, VICReg, classifiers trained along."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INVARIANCE = VARIANCE = 25.0  # weights in VICReg; that of the covariance is 1
VARIANCE_EPS = 1e-4  # added to a variance before its root, whose slope has no bound at 0


def nt_xent(z1: Tensor, z2: Tensor, *, temperature: float, symmetric: bool = True) -> Tensor:
    """NT-Xent (Chen et al. 2020, ICML, eq. 1) of unit projections, (n, d) of each view.

    Anchors are the views of both sides, or of the first alone (Wei et al. 2022).
    """
    n = z1.shape[0]
    anchors = torch.cat((z1, z2)) if symmetric else z1
    others = torch.cat((z1, z2))
    logits = anchors @ others.T / temperature  # (anchors, 2n)
    index = torch.arange(anchors.shape[0], device=z1.device)
    logits = logits.masked_fill(F.one_hot(index, 2 * n).bool(), float("-inf"))
    return F.cross_entropy(logits, (index + n) % (2 * n))


def sup_con(z: Tensor, labels: Tensor, domains: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, L_out) of unit projections (n, d).

    Within domains; rows with a negative label take no part. 0 where no class has two rows.
    """
    keep = labels >= 0
    z, labels, domains = z[keep], labels[keep], domains[keep]
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    comparable = (domains[:, None] == domains[None, :]) & ~itself
    positive = (labels[:, None] == labels[None, :]) & comparable
    logits = (z @ z.T / temperature).masked_fill(~comparable, float("-inf"))
    log_probability = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    count = positive.sum(dim=1)
    per_anchor = -torch.where(positive, log_probability, 0.0).sum(dim=1) / count.clamp(min=1)
    anchors = count > 0
    return per_anchor[anchors].mean() if bool(anchors.any()) else z.sum() * 0.0


def vicreg(y1: Tensor, y2: Tensor) -> Tensor:
    """VICReg (Bardes et al. 2022, ICLR, eq. 6) of expanded embeddings (n, d) of each view."""
    loss = INVARIANCE * F.mse_loss(y1, y2)
    for y in (y1, y2):
        centred = y - y.mean(dim=0)
        products = centred.T @ centred / (len(y) - 1)
        squares = products.diagonal()
        spread = F.relu(1 - (squares + VARIANCE_EPS).sqrt()).mean()
        crossed = (products.square().sum() - squares.square().sum()) / y.shape[1]
        loss = loss + VARIANCE / 2 * spread + crossed
    return loss


def classifier_loss(
    classifiers: nn.ModuleList, embedding: Tensor, labels: Tensor, domains: Tensor
) -> Tensor:
    """Cross entropy by the classifier of each row's domain, mean over the rows with a class."""
    total = embedding.sum() * 0.0
    for domain, classifier in enumerate(classifiers):
        rows = (labels >= 0) & (domains == domain)
        if isinstance(classifier, nn.Linear) and bool(rows.any()):
            logits = classifier(embedding[rows])
            total = total + F.cross_entropy(logits, labels[rows], reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)
