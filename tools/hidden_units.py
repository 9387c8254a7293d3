"""Hidden units of vote heads, made of heads that have been fitted before."""

from collections.abc import Iterable

import numpy as np

from galmorph.heads import LinearHead
from galmorph.training.votes import Hidden


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
