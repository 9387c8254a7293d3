"""Make the matrix by which `galmorph search` compares embeddings of the default model.

    GALMORPH_DATA=FOLDER python tools/make_weighting.py        # writes galmorph/neighbours/weightings.safetensors

Directions in which an embedding changes when the same galaxy is cut out smaller, and in which galaxies of one class
differ, count less; those that tell classes apart count more. All is learnt on the second training shard of Galaxy
Zoo 2; the constants were chosen there and on the first. `benchmarks/eval_search.py` measures what it gives.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import galmorph
from galmorph.images.discover import discover_sources
from galmorph.neighbours.vectors import WEIGHTINGS

FIELD = 180 / 224  # of a training image
SMALLER = 0.7
WIDTH = 128  # numbers that are compared
RIDGE = 0.2  # parts of the average variance that every direction has at least
CLASS_GAIN = 2.4  # of the directions that tell classes apart


def raise_to(matrix: np.ndarray, power: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def fit_weighting(plain: np.ndarray, smaller: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The matrix (d, WIDTH), of embeddings (n, d) in the usual and a smaller field, and classes (n,)."""
    width = plain.shape[1]
    names = np.unique(labels)
    means = np.array([plain[labels == name].mean(axis=0) for name in names])
    parts = np.array([(labels == name).mean() for name in names])
    within = plain - means[np.searchsorted(names, labels)]
    spread = sum(
        covariance / np.trace(covariance)
        for covariance in (np.cov((smaller - plain).T), np.cov(within.T))
    )
    spread += RIDGE * np.trace(spread) / width * np.eye(width)
    even = raise_to(spread, -0.5)
    apart = ((means - parts @ means) @ even) * np.sqrt(parts)[:, None]
    axes = np.linalg.svd(apart)[2][: len(names) - 1].T
    matrix = even @ (np.eye(width) + (CLASS_GAIN - 1) * axes @ axes.T)
    vectors = np.linalg.eigh(matrix.T @ np.cov(plain.T) @ matrix)[1]
    return matrix @ vectors[:, ::-1][:, :WIDTH]


def main() -> None:
    model = galmorph.load_model()
    place = Path(os.environ["GALMORPH_DATA"]) / "gz2" / "train-00001.tar"
    sources = list(discover_sources(place))
    labels = np.array([re.split("::|/", source.address)[-2] for source in sources])
    plain, smaller = (
        galmorph.embed(sources, model=model, crop=part * FIELD).astype(np.float64)
        for part in (1, SMALLER)
    )
    weighting = fit_weighting(plain, smaller, labels).astype(np.float16)
    save_file({model.provenance["sha256"]: np.ascontiguousarray(weighting)}, WEIGHTINGS)


if __name__ == "__main__":
    main()
