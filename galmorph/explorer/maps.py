"""Maps of embeddings in two dimensions."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.explorer.galaxies import Galaxies
from galmorph.neighbours.vectors import list_parts, multiply
from galmorph.writing import put_in_place

SAMPLE = 20_000  # rows, at most, that axes of a map are found from
Array = npt.NDArray[Any]


def compute_pca(embeddings: Array, encoded: Array, dimensions: int = 2) -> Array:
    """Principal components (n, dimensions); NaN where there is no embedding."""
    chosen = encoded
    if encoded.sum() > SAMPLE:
        rows = np.random.default_rng(0).choice(np.flatnonzero(encoded), SAMPLE, replace=False)
        chosen = np.isin(np.arange(len(encoded)), rows)
    parts = [part[chosen[rows]] for rows, part in list_parts(embeddings)]
    sample = np.concatenate(parts).astype(np.float32)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((sample - mean).T.astype(np.float64)))
    axes = vectors[:, np.argsort(-values)[:dimensions]].astype(np.float32)
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    found: Array = multiply(embeddings, axes) - mean @ axes
    return found


def open_map(name: str, galaxies: Galaxies) -> Array:
    """Axes (n, 2) by PCA or UMAP; computed once where they can be kept beside the run."""
    embeddings, place = galaxies.embeddings, galaxies.place
    place = place and place.with_name(f"{place.name}.{name.lower()}.npy")
    if place and place.is_file():
        return np.load(place)  # type: ignore[no-any-return]
    assert embeddings is not None  # else no map is offered
    found = (compute_umap if name == "UMAP" else compute_pca)(embeddings, galaxies.encoded)
    if place:
        with suppress(OSError), put_in_place(place) as temporary, temporary.open("wb") as file:
            np.save(file, found)  # where nothing can be written, next time again
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
