"""Features of a head: the embedding, and what a layer of hidden units makes of it."""

from typing import Any

import numpy as np
import numpy.typing as npt


def add_hidden(
    embeddings: npt.NDArray[Any], weight: npt.NDArray[Any], bias: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """(n, d) to (n, d + h): sigmoid units of ``weight`` (h, d) stand after the embedding."""
    units = 0.5 + 0.5 * np.tanh(0.5 * (embeddings @ weight.T + bias))
    return np.concatenate([embeddings, units.astype(embeddings.dtype)], axis=1)
