"""Features of a head: the embedding, and what a layer of hidden units makes of it."""

import numpy as np

from galmorph.quantities import Array


def add_hidden(embeddings: Array, weight: Array, bias: Array) -> Array:
    """(n, d) to (n, d + h): sigmoid units of ``weight`` (h, d) stand after the embedding."""
    units = 0.5 + 0.5 * np.tanh(0.5 * (embeddings @ weight.T + bias))
    return np.concatenate([embeddings, units.astype(embeddings.dtype)], axis=1)
