"""How well search finds: the same class among the nearest ten, and the same galaxy in another cutout.

    python benchmarks/eval_search.py             # what is published: gz2/test
    python benchmarks/eval_search.py --train     # which measure to take: training images only

Precision: part of the ten nearest (by cosine, itself left out) that have the class of the query, per class and as
mean over all queries. Same galaxy: it is turned, flipped, cut to 0.7 of the field, or stored as JPEG of quality 50,
embedded again, and should come back first among all images. The nearest of the others says which similarity makes a
duplicate. Needs the folder that GALMORPH_DATA names.
"""

from __future__ import annotations

import argparse
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import print_machine
from PIL import Image
from safetensors.numpy import load_file

from galmorph import embed, load_model
from galmorph.images.discover import discover_sources
from galmorph.neighbours.duplicates import SAME_LOOKS
from galmorph.neighbours.vectors import (
    WEIGHTINGS,
    apply_weighting,
    compute_similarity,
    to_unit,
)

NEAREST = 10
FIELD = 180
"""Pixels of the field of view, of 424 of gz2/test and 224 of the training shards."""


def whiten(reference: np.ndarray, count: int, power: float) -> Callable[[np.ndarray], np.ndarray]:
    """Principal components divided by their variance to some power; 0.5 makes all alike."""
    mean = reference.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((reference - mean).T.astype(np.float64)))
    scaled = (vectors[:, ::-1][:, :count] / values[::-1][:count] ** power).astype(np.float32)
    return lambda embeddings: (embeddings - mean) @ scaled


def list_measures(
    reference: np.ndarray, train: bool
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    weighting = load_file(WEIGHTINGS)[load_model().provenance["sha256"]].astype(np.float32)
    plain = {
        "plain": lambda embeddings: embeddings,
        "weighted": lambda embeddings: apply_weighting(embeddings, weighting),
    }
    if not train:
        return plain
    mean = reference.mean(axis=0)
    others = {f"whitened, {k} components": whiten(reference, k, 0.5) for k in (32, 128, 256)}
    half = {"half whitened, 128 components": whiten(reference, 128, 0.25)}
    return plain | {"centred": lambda embeddings: embeddings - mean} | others | half


def measure_precision(vectors: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    similarity = compute_similarity(vectors.astype(np.float16), vectors)
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argpartition(-similarity, NEAREST, axis=1)[:, :NEAREST]
    good = (labels[nearest] == labels[:, None]).mean(axis=1)
    return {"all": good.mean()} | {name: good[labels == name].mean() for name in np.unique(labels)}


def change(picture: Image.Image, kind: str, rng: np.random.Generator, whole: bool) -> Image.Image:
    if kind == "turned":
        angle = rng.uniform(0, 360) if whole else 90 * rng.integers(1, 4)
        return picture.rotate(angle, Image.Resampling.BICUBIC)
    if kind == "flipped":
        return picture.transpose(Image.Transpose(int(rng.integers(0, 2))))
    if kind == "JPEG of quality 50":
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=50)
        return Image.open(io.BytesIO(buffer.getvalue()))
    return picture


def read_pictures(sources: list[Any]) -> Iterator[Image.Image]:
    for source in sources:
        yield Image.open(io.BytesIO(source.read_head(1 << 24))).convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GALMORPH_DATA", "data")))
    parser.add_argument("--train", action="store_true", help="training images and several measures")
    parser.add_argument("--images", type=int, default=10**9, help="at most so many of the set")
    parser.add_argument("--queries", type=int, default=500, help="galaxies that are changed")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print_machine()
    place = options.data / "gz2" / ("train-00000.tar" if options.train else "test")
    sources = list(discover_sources(place))
    rng = np.random.default_rng(options.seed)
    sources = [sources[k] for k in sorted(rng.permutation(len(sources))[: options.images])]
    labels = np.array([re.split("::|/", source.address)[-2] for source in sources])
    crop = FIELD / (224 if options.train else 424)
    embeddings = embed(sources, crop=crop, progress=False)
    asked = rng.choice(len(sources), min(options.queries, len(sources)), replace=False)
    changed = {}
    for kind in ("turned", "flipped", "0.7 of the field", "JPEG of quality 50"):
        pictures = read_pictures([sources[k] for k in asked])
        other = [change(each, kind, rng, not options.train) for each in pictures]
        part = 0.7 if kind.startswith("0.7") else 1.0
        changed[kind] = embed(other, crop=part * crop, progress=False)
    print(f"\n{place.name}: {len(sources)} images, {len(asked)} of them changed\n")
    for name, measure in list_measures(embeddings, options.train).items():
        report(name, measure, embeddings, labels, asked, changed)


def report(
    name: str,
    measure: Callable[[np.ndarray], np.ndarray],
    embeddings: np.ndarray,
    labels: np.ndarray,
    asked: np.ndarray,
    changed: dict[str, np.ndarray],
) -> None:
    vectors = to_unit(measure(embeddings))
    precision = measure_precision(vectors, labels)
    told = ", ".join(f"{each} {value:.3f}" for each, value in precision.items())
    print(f"{name}: precision@{NEAREST}: {told}")
    alike = compute_similarity(vectors.astype(np.float16), vectors) >= SAME_LOOKS
    print(f"  pairs of similarity {SAME_LOOKS} or more: {np.count_nonzero(np.triu(alike, 1))}")
    for kind, other in changed.items():
        similarity = compute_similarity(vectors.astype(np.float16), to_unit(measure(other)))
        own = similarity[asked, np.arange(len(asked))]
        similarity[asked, np.arange(len(asked))] = -np.inf
        strangers = similarity.max(axis=0)
        first = (own > strangers).mean()
        low = np.quantile(own, (0.01, 0.05, 0.5))
        print(
            f"  {kind}: first in {first:.1%}; similarity to itself {low[2]:.3f} (1 %: {low[0]:.3f}, 5 %: {low[1]:.3f}), "
            f"to the nearest other {np.median(strangers):.3f} (99 %: {np.quantile(strangers, 0.99):.3f}, "
            f"most {strangers.max():.3f}); "
            f"called the same: {(own >= SAME_LOOKS).mean():.1%}"
        )


if __name__ == "__main__":
    main()
