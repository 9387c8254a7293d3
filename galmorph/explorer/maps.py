"""Maps of embeddings in two dimensions."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.neighbours.vectors import list_blocks

SAMPLE = 20_000
"""Rows, at most, that axes of a map are found from."""

Array = npt.NDArray[Any]


def _sample(embeddings: Array, encoded: Array) -> Array:
    """Some rows in float32, picked while all pass by: memory holds little of a mapped file."""
    chosen = encoded
    if encoded.sum() > SAMPLE:
        rows = np.random.default_rng(0).choice(np.flatnonzero(encoded), SAMPLE, replace=False)
        chosen = np.isin(np.arange(len(encoded)), rows)
    return np.concatenate([block[chosen[rows]] for rows, block in list_blocks(embeddings)])


def compute_pca(embeddings: Array, encoded: Array, dimensions: int = 2) -> Array:
    """Principal components (n, dimensions); NaN where there is no embedding."""
    sample = _sample(embeddings, encoded)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((sample - mean).T.astype(np.float64)))
    axes = vectors[:, np.argsort(-values)[:dimensions]].astype(np.float32)
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    found = np.full((len(embeddings), axes.shape[1]), np.nan, dtype=np.float32)
    for rows, block in list_blocks(embeddings):
        found[rows] = (block - mean) @ axes
    return found


def has_umap() -> bool:
    """Whether the extra ``umap`` is installed."""
    return importlib.util.find_spec("umap") is not None


def compute_umap(embeddings: Array, encoded: Array) -> Array:
    """UMAP (n, 2) of the 32 first principal components, fitted on `SAMPLE` rows at most."""
    from umap import UMAP

    reduced = compute_pca(embeddings, encoded, min(32, embeddings.shape[1]))
    rows = np.flatnonzero(encoded)
    found = np.full((len(embeddings), 2), np.nan, dtype=np.float32)
    mapper = UMAP(random_state=0, n_jobs=1, n_neighbors=min(15, len(rows) - 1))
    if len(rows) <= SAMPLE:
        found[rows] = mapper.fit_transform(reduced[rows])
    else:
        mapper.fit(reduced[np.random.default_rng(0).choice(rows, SAMPLE, replace=False)])
        found[rows] = mapper.transform(reduced[rows])
    return found
