"""Heads learnt from votes and attributes, written into a model file beside those of classes.

    python tools/make_heads.py fused_fast.safetensors --cache embeddings/ --figures votes.json

Needs the folder that GALMORPH_DATA names (votes/, artifacts/, gz2/, decals/, unlabelled/) and a
model with the heads gz2_clean, sdss and decals. Test parts are not touched.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galmorph.heads import LinearHead, make_class_name
from galmorph.heads.galaxy_zoo import GZ2_CODES, GZ2_QUESTIONS
from galmorph.heads.questions import slice_answers
from galmorph.images.discover import discover_sources
from galmorph.images.inputs import to_sources
from galmorph.images.read import read_cutout
from galmorph.model import Model
from galmorph.preprocessing.pipeline import FieldOptions
from galmorph.training.logistic import fit_path, standardize
from galmorph.training.votes import join_shares

Array = np.ndarray[Any, Any]

SHARD = 180 / 224
"""Of the shards, which are the middle of the frames, the model sees this part."""

VIEWS = 8
"""Orientations whose embeddings are averaged, where labels are few."""

LEAVES = ("round", "in_between", "cigar", "edge_on", "spiral", "artifact")
"""What people see at the end of the tree; spiral: a disk not seen from its edge."""

SURVEY_WEIGHTS = {"gz2": 0.3, "gz2_mean": 0.7, "gz2_auto": 0.3, "sdss120": 0.15, "decals": 0.1}
LARGEST = ("Class1.1", "Class1.2", "Class6.1", "Class6.2")


@dataclass
class Images:
    """Embeddings of the images of a model, kept on disk."""

    model: Model
    data: Path
    cache: Path

    def embed(self, name: str, where: str, crop: Any, views: int = 1) -> tuple[Array, list[str]]:
        """(n, num_features), the mean over orientations, and the path of each image."""
        file = self.cache / f"{name}.npz"
        if not file.exists():
            torch.set_num_threads(1)  # faster for one image at a time
            found = list(self._embed(where, crop, views))
            embeddings, names = np.stack([e for e, _ in found]), np.array([n for _, n in found])
            np.savez(file, e=embeddings, ids=names)
        with np.load(file) as kept:
            embeddings, names = kept["e"], kept["ids"]
        return embeddings.reshape(len(names), -1, embeddings.shape[-1]).mean(axis=1), list(names)

    def _list(self, where: str) -> Iterator[Any]:
        if where.startswith("empty"):  # as many images as the number says
            return to_sources([make_empty(seed) for seed in range(int(where[5:]))])
        return discover_sources([str(self.data / where)])

    @torch.inference_mode()
    def _embed(self, where: str, crop: Any, views: int) -> Iterator[tuple[Array, str]]:
        preprocessing = self.model.preprocessing
        mean, std = (
            torch.tensor(v)[:, None, None] for v in (preprocessing.mean, preprocessing.std)
        )
        for source in self._list(where):
            field = FieldOptions(crop=crop)
            pixels = preprocessing.prepare(read_cutout(source), field=field).pixels
            top = 255 if pixels.dtype == np.uint8 else 1
            x = (torch.from_numpy(pixels).float() / top - mean) / std
            turned = [torch.rot90(x, k, (1, 2)) for k in range(4)]
            batch = torch.stack([v for t in turned for v in (t, t.flip(2))][:views])
            yield self.model.encoder(batch).numpy(), source.address


def find(embedded: tuple[Array, list[str]], files: list[str], parts: int = 1) -> Array:
    """Rows of some files, told by the last parts of their paths."""
    place = {"/".join(n.split("/")[-parts:]): k for k, n in enumerate(embedded[1])}
    return embedded[0][[place["/".join(f.split("/")[-parts:])] for f in files]]


def read_rows(data: Path, name: str) -> list[dict[str, str]]:
    """A table of votes/."""
    with (data / "votes" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_votes(rows: list[dict[str, str]]) -> Array:
    """Votes per answer (n, 37): weighted fractions times the people who came so far."""
    names = [n for n in rows[0] if n.endswith("_fraction")]
    ordered = [next(n for n in names if f"_a{code:02d}_" in n) for code in GZ2_CODES]
    shares = np.array([[float(row[n]) for n in ordered] for row in rows])
    counts = [n for n in rows[0] if n.startswith("t01_") and n.endswith("_count")]
    people = [
        sum(float(row[n]) for n in counts) if counts else float(row["total_classifications"])
        for row in rows
    ]
    return join_shares(shares, GZ2_QUESTIONS) * np.array(people)[:, None]


def find_leaves(shares: Array) -> Array:
    """Shares of `LEAVES` among all people, from those of the answers; rows sum to 1."""
    part = {q.name: shares[:, answers] for q, answers in slice_answers(GZ2_QUESTIONS)}
    first = part["smooth-or-featured"]
    smooth = first[:, :1] * part["how-rounded"]
    disk = first[:, 1:2] * part["disk-edge-on"]
    found = np.concatenate([smooth, disk, first[:, 2:]], axis=1)
    return found / found.sum(axis=1, keepdims=True)


def fit_once(name: str, x: Array, labels: Array, classes: tuple[str, ...], penalty: float) -> Any:
    """A head of classes at a penalty known before."""
    scale = standardize(x)
    targets = np.eye(len(classes))[labels]
    weight, bias = scale.fold(next(fit_path(scale.apply(x), targets, [penalty])))
    return LinearHead(name, classes, weight.astype(np.float32), bias.astype(np.float32))


def fit_largest(images: Images, without: set[str], count: int = 12_000) -> LinearHead:
    """Which of the values of the Kaggle challenge is the largest: a label of any galaxy."""
    sets = [
        images.embed("gz2_tr0", "gz2/train-00000.tar", SHARD),
        images.embed("gz2_tr1", "gz2/train-00001.tar", SHARD),
        images.embed("kaggle_u", "unlabelled/kaggle-00000.tar", SHARD),
    ]
    x = np.concatenate([e for e, _ in sets])
    names = [Path(n).stem for _, each in sets for n in each]
    rows = read_rows(images.data, "kaggle_largest")
    label = {Path(row["member"]).stem: row["largest"] for row in rows}
    usable = [k for k, n in enumerate(names) if label.get(n) in LARGEST and n not in without]
    usable = list(np.random.default_rng(0).permutation(usable)[:count])
    labels = np.array([LARGEST.index(label[names[k]]) for k in usable])
    classes = tuple(make_class_name(name) for name in LARGEST)
    return fit_once("largest", x[usable], labels, classes, 1e-2)


def fit_artifact(images: Images) -> LinearHead:
    """Artifacts against galaxies of the training shards."""
    bad = images.embed("artifacts", "artifacts", None, VIEWS)[0]
    good = images.embed("kaggle_u", "unlabelled/kaggle-00000.tar", SHARD)[0]
    x = np.concatenate([bad, good])
    labels = np.repeat([1, 0], [len(bad), len(good)])
    return fit_once("artifact", x, labels, ("galaxy", "artifact"), 1e-2)


def read_vote_sets(images: Images) -> tuple[Array, Array, Array, Array, Array]:
    """Embeddings, votes, surveys, weights and groups of all tables, GZ2 first."""
    parts = []
    rows = read_rows(images.data, "gz2")
    files = [row["file"] for row in rows]
    for survey, (name, kept, crop, views) in enumerate(
        (
            ("gz2", "v_gz2_one", None, 1),
            ("gz2_mean", "v_gz2", None, VIEWS),
            ("gz2_auto", "v_gz2_auto", "auto", VIEWS),
        )
    ):
        embedded = images.embed(kept, "votes/gz2", crop, views)
        parts.append((find(embedded, files), read_votes(rows), survey, name, np.arange(len(rows))))
    groups = len(rows)
    for survey, (name, where, depth) in enumerate(
        (("sdss120", "votes/sdss120", 1), ("decals", "decals", 2)), start=3
    ):
        rows = read_rows(images.data, name)
        embedded = images.embed(f"v_{name}_auto", where, "auto", VIEWS if name == "decals" else 1)
        found = find(embedded, [row["file"] for row in rows], depth)
        parts.append((found, read_votes(rows), survey, name, groups + np.arange(len(rows))))
        groups += len(rows)
    return (
        np.concatenate([p[0] for p in parts]),
        np.concatenate([p[1] for p in parts]),
        np.concatenate([np.full(len(p[0]), p[2]) for p in parts]),
        np.concatenate([np.full(len(p[0]), SURVEY_WEIGHTS[p[3]]) for p in parts]),
        np.concatenate([p[4] for p in parts]),
    )


def make_empty(seed: int, size: int = 424) -> Array:
    """An image (y, x, 3) without a galaxy: sky, noise, a star or a trail on it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    sky, noise = rng.uniform(0, 60), 10 ** rng.uniform(-0.5, 1.8)
    image = sky + noise * _blur(rng.normal(size=(size, size, 3)), int(rng.integers(0, 4)))
    image += rng.normal(0, 15) * (x * np.cos(seed) + y * np.sin(seed))[..., None]
    kind = seed % 5
    colour = rng.uniform(0.6, 1, 3)
    if kind == 1:  # stars
        for _ in range(rng.integers(1, 4)):
            x0, y0 = rng.normal(0, 0.03, 2) if _ == 0 else rng.uniform(-0.5, 0.5, 2)
            radius = np.hypot(x - x0, y - y0) / (10 ** rng.uniform(-2.3, -1.3))
            star = 10 ** rng.uniform(2, 4) * (1 + radius**2) ** -rng.uniform(2.2, 4)
            image += star[..., None] * colour
    elif kind == 2:  # a trail
        angle, offset = rng.uniform(0, np.pi), rng.normal(0, 0.08)
        across = (x * np.cos(angle) + y * np.sin(angle) - offset) / 10 ** rng.uniform(-2.5, -1.4)
        image += (10 ** rng.uniform(1.5, 2.8) * np.exp(-(across**2)))[..., None] * colour
    elif kind == 3:  # noise alone
        image = rng.uniform(0, 255, (size, size, 3)) if rng.random() < 0.5 else image + image.std()
    return np.clip(image, 0, 255).astype(np.uint8)


def _blur(image: Array, times: int) -> Array:
    """Neighbours averaged so often, at unit standard deviation."""
    for _ in range(times):
        for axis in (0, 1):
            image = image + np.roll(image, 1, axis) + np.roll(image, -1, axis)
    return np.asarray(image / image.std())
