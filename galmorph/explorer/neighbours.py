"""Maps of embeddings in two dimensions, and which lie near each other."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import MissingExtraError

SAMPLE = 20_000
"""Rows, at most, that axes of a map are found from."""

BLOCK = 65_536

Array = npt.NDArray[Any]


def _blocks(embeddings: Array, mean: Array) -> Iterator[tuple[slice, Array]]:
    """Parts of the rows in float32, less the mean."""
    for start in range(0, len(embeddings), BLOCK):
        part = slice(start, start + BLOCK)
        yield part, embeddings[part].astype(np.float32) - mean


def _sample(embeddings: Array, encoded: Array) -> Array:
    rows = np.flatnonzero(encoded)
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
    return embeddings[rows].astype(np.float32)


def compute_pca(embeddings: Array, encoded: Array, dimensions: int = 2) -> Array:
    """Principal components (n, dimensions); NaN where there is no embedding."""
    sample = _sample(embeddings, encoded)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((sample - mean).T.astype(np.float64)))
    axes = vectors[:, np.argsort(-values)[:dimensions]].astype(np.float32)
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    found = np.full((len(embeddings), axes.shape[1]), np.nan, dtype=np.float32)
    for part, centred in _blocks(embeddings, mean):
        found[part] = centred @ axes
    found[~encoded] = np.nan
    return found


def has_umap() -> bool:
    """Whether the extra ``umap`` is installed."""
    return importlib.util.find_spec("umap") is not None


def compute_umap(embeddings: Array, encoded: Array) -> Array:
    """UMAP (n, 2) of the 32 first principal components, fitted on `SAMPLE` rows at most."""
    if not has_umap():
        raise MissingExtraError("umap-learn", "umap", "for a map by UMAP")
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


def compute_similarity(embeddings: Array, encoded: Array, rows: Array) -> Array:
    """Largest cosine (n,) of each row with one of ``rows``, less the mean of all; NaN without."""
    mean = _sample(embeddings, encoded).mean(axis=0)
    examples = _unit(embeddings[rows].astype(np.float32) - mean)
    found = np.empty(len(embeddings), dtype=np.float32)
    for part, centred in _blocks(embeddings, mean):
        found[part] = (_unit(centred) @ examples.T).max(axis=1)
    found[~encoded] = np.nan
    return found


def _unit(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1))
