"""Heads learnt from votes and attributes, written into a model file beside those of classes.

    python tools/make_heads.py fused_fast.safetensors --cache embeddings/

Needs the folder that GALMORPH_DATA names (votes/, artifacts/, gz2/, decals/, sdss/, unlabelled/).
A model with the heads gz2_clean, sdss and decals gets gz2 and tree, labelfree gets efigi; both get
what is typical. Test parts are not touched.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from galaxy_zoo_tree import GZ2_CODES, GZ2_QUESTIONS
from hidden_units import Network, cross_train, make_hidden, train_network
from odd_frames import KINDS, make_odd_frames
from PIL import Image

from galmorph.heads import LinearHead, make_class_name, softmax
from galmorph.heads.linear import NO_SCORE, make_scores
from galmorph.heads.regression import RegressionHead, Target
from galmorph.heads.shares import SharesHead
from galmorph.heads.votes import VoteHead, slice_answers
from galmorph.images.discover import discover_sources
from galmorph.images.inputs import to_sources
from galmorph.images.read import read_cutout
from galmorph.model import Model, read_model
from galmorph.settings import FieldOptions
from galmorph.training.export import add_to_model
from galmorph.training.logistic import cross_predict, fit_path, standardize
from galmorph.training.votes import (
    FOLDS,
    Hidden,
    fit_numbers,
    fit_votes,
    join_shares,
)
from galmorph.typicality import Doubts, Frames, Typicality, fit_typicality

Array = np.ndarray[Any, Any]

SHARD = 180 / 224
"""Of the shards, which are the middle of the frames, the model sees this part."""

VIEWS = 8
"""Orientations whose embeddings are averaged, where labels are few."""

LEAVES = ("round", "in_between", "cigar", "edge_on", "spiral", "artifact")
"""What people see at the end of the tree; spiral: a disk not seen from its edge."""

SURVEY_WEIGHTS = {"gz2": 0.3, "gz2_mean": 0.7, "gz2_auto": 0.3, "sdss120": 0.15, "decals": 0.1}
ORDINARY = 10.0
"""Weight of ordinary galaxies, where a clean galaxy has 1."""

MARGIN, DISK = 0.1, 0.35
"""By how much a smooth class leads in clean samples; least share of edge_on and spiral there."""

GALAXY_SHARE, NONE_SHARES = 0.03, (0.8, 0.99)
"""Of people who say artifact: of a galaxy, an artifact, and what is made here without a galaxy."""

SHARPER, DOUBTFUL = 2.0, 0.7
"""A linear logit that reaches these shares is too even, and too often above a half for galaxies."""

PENALTY = 3e-2
"""Of the shares, as in `galmorph.training.logistic`."""

CALLED_BAD = 0.02
"""Part of the good frames of a survey that may be called bad."""

LARGEST = ("Class1.1", "Class1.2", "Class6.1", "Class6.2")


@dataclass
class Images:
    """Embeddings of the images of a model, kept on disk."""

    model: Model
    data: Path
    cache: Path

    def embed(self, name: str, where: str, crop: Any, views: int = 1) -> tuple[Array, list[str]]:
        """(n, num_features), the mean over orientations, and the path of each image."""
        embeddings, names = self.embed_views(name, where, crop, views)
        return embeddings.mean(axis=1), names

    def embed_views(self, name: str, where: str, crop: Any, views: int) -> tuple[Array, list[str]]:
        """(n, views, num_features) and the path of each image."""
        file = self.cache / f"{name}.npz"
        if not file.exists():
            torch.set_num_threads(1)  # faster for one image at a time
            found = list(self._embed(where, crop, views))
            embeddings, names = np.stack([e for e, _ in found]), np.array([n for _, n in found])
            np.savez(file, e=embeddings, ids=names)
        with np.load(file) as kept:
            embeddings, names = kept["e"], kept["ids"]
        return embeddings.reshape(len(names), -1, embeddings.shape[-1]), list(names)

    def _list(self, where: str) -> Iterator[Any]:
        if where == "artifacts as shards":  # else what tells them from galaxies is the format
            files = sorted((self.data / "artifacts").glob("*.jpg"))
            return to_sources([make_small(file) for file in files])
        if where in KINDS:
            return to_sources(list(make_odd_frames(where, self.data)))
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


def find_leaves(joint: Array) -> Array:
    """Shares of `LEAVES` from those of all answers among all people; rows sum to 1."""
    part = {q.name: joint[:, answers] for q, answers in slice_answers(GZ2_QUESTIONS)}
    names = ("how-rounded", "disk-edge-on", "smooth-or-featured")
    found = np.concatenate([part[name] for name in names], axis=1)[:, [0, 1, 2, 3, 4, 7]]
    return found / found.sum(axis=1, keepdims=True)


def fit_once(name: str, x: Array, labels: Array, classes: tuple[str, ...], penalty: float) -> Any:
    """A head of classes at a penalty known before."""
    scale = standardize(x)
    targets = np.eye(len(classes))[labels]
    weight, bias = scale.fold(next(fit_path(scale.apply(x), targets, [penalty])))
    return LinearHead(name, classes, weight.astype(np.float32), bias.astype(np.float32))


def fit_largest(images: Images, without: Set[str], count: int = 12_000) -> LinearHead:
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


def make_small(file: Path) -> bytes:
    """A frame as the shards hold it: the central 224 px, averaged to 112, as JPEG."""
    with Image.open(file) as image:
        side = min(image.size)
        left, top = ((n - round(side * 224 / 424)) // 2 for n in image.size)
        box = (left, top, image.size[0] - left, image.size[1] - top)
        small = image.convert("RGB").crop(box).resize((112, 112), Image.Resampling.BOX)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


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


def raise_class(shares: Array, labels: Array) -> Array:
    """The nearest shares with which a galaxy can stand in a clean sample of its class.

    Smooth classes need the most votes there; disks a part of them, which is then corrected for
    faintness: of the clean edge-on galaxies with known votes most people call four in ten a cigar.
    """
    own = np.eye(shares.shape[1])[labels]
    now = shares[own > 0]
    most = np.where(own > 0, 0, shares).max(axis=1)
    smooth = labels < LEAVES.index("edge_on")
    part = np.where(smooth, (most - now + MARGIN) / (most - now + 1), (DISK - now) / (1 - now))
    part = np.clip(part, 0, 1)[:, None]
    return (1 - part) * shares + part * own


def read_clean(images: Images, without: Set[str] = frozenset()) -> tuple[Array, Array]:
    """Embeddings and classes of some galaxies on which people agree, some also as measured."""
    sets = [
        images.embed("gz2_tr0", "gz2/train-00000.tar", SHARD),
        images.embed("gz2_tr1", "gz2/train-00001.tar", SHARD),
        images.embed("gz2_tr0_auto", "gz2/train-00000.tar", "auto"),
    ]
    paths = [n.split("::")[-1].split("/") for _, names in sets for n in names]
    labels = np.array([LEAVES.index(path[-2]) for path in paths])
    kept = np.flatnonzero([Path(path[-1]).stem not in without for path in paths])
    some = np.random.default_rng(0).permutation(kept)[:4000]
    return np.concatenate([e for e, _ in sets])[some], labels[some]


def fit_tree(x: Array, votes: Array, hidden: Hidden, labels: dict[str, Any]) -> VoteHead:
    """The whole tree; how well it tells galaxies that at least half of all people call edge-on."""
    found = fit_votes(x, votes, GZ2_QUESTIONS, name="tree", hidden=hidden, **labels)
    first, place = labels["surveys"] == 0, LEAVES.index("edge_on")
    told = find_leaves(join_shares(found.shares[first], GZ2_QUESTIONS))[:, place]
    said = find_leaves(votes[first] / votes[first, :3].sum(axis=1, keepdims=True))[:, place]
    auc = compute_auc(told[said >= 0.5], told[said < 0.5])
    return replace(found.head, notes={**found.head.notes, "cross_validated_auc_edge_on": auc})


def list_leaves(tree: VoteHead, ordinary: tuple[Array, ...], clean: tuple[Array, Array]) -> Any:
    """Embeddings, shares of `LEAVES`, weights and groups; the ordinary galaxies come first.

    What people said of clean galaxies is not known but for the class; the tree says the rest.
    """
    x, votes, _, weights, groups = ordinary
    shares = votes / votes[:, :3].sum(axis=1, keepdims=True)
    galaxies, labels = clean
    expected = find_leaves(join_shares(tree.compute_shares(galaxies), GZ2_QUESTIONS))
    return (
        np.concatenate([x, galaxies]),
        np.concatenate([find_leaves(shares), raise_class(expected, labels)]),
        np.concatenate([weights * ORDINARY, np.ones(len(galaxies))]),
        np.concatenate([groups, groups.max() + 1 + np.arange(len(labels))]),
    )


def gather_galaxies(images: Images) -> list[Array]:
    """Galaxies of every survey that the model is checked on, seen as they are without options."""
    kaggle = images.embed("kaggle_u", "unlabelled/kaggle-00000.tar", SHARD)[0]
    clean = images.embed("gz2_tr0", "gz2/train-00000.tar", SHARD)[0]
    sdss = images.embed("sdss_tr", "sdss/train-00000.tar", SHARD)[0]
    decals = images.embed("v_decals_auto", "decals", "auto", VIEWS)[0]
    efigi = images.embed("efigi_auto", "votes/efigi", "auto", VIEWS)[0]
    small = images.embed("v_sdss120_auto", "votes/sdss120", "auto")[0]
    ordinary = images.embed("v_gz2_one", "votes/gz2", None)[0]
    sets = (kaggle, clean[::3], sdss, decals, efigi, small, ordinary)
    return [np.random.default_rng(0).permutation(x) for x in sets]


def fit_none(known: Sequence[Array], none: list[Array]) -> tuple[Array, Array]:
    """Weight (d,) and bias of the logit of what is no galaxy; every set counts alike.

    Of ``none`` the first are artifacts, beside some of which there is a galaxy.
    """
    sets = [*known, *none]
    x, group = np.concatenate(sets), np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    share = np.array([*np.full(len(known), GALAXY_SHARE), *NONE_SHARES])[group]
    weights = (1 / np.bincount(group))[group]
    scale = standardize(x)
    targets = np.stack([1 - share, share], axis=1)
    path = fit_path(scale.apply(x), targets, [1e-2], weights=weights / weights.mean())
    weight, bias = scale.fold(next(path))
    return SHARPER * (weight[1] - weight[0]), SHARPER * (bias[1] - bias[0] - DOUBTFUL)


def fit_kinds(clean: LinearHead, images: Images) -> tuple[Array, Array]:
    """Weight and bias of the pairs of a clean class and a kind: smooth, edge-on or spiral.

    A pair is sure where both are: a smooth galaxy that may be a disk is more of a doubt than a
    round one that may be called in between.
    """
    x, names = images.embed("gz2_tr0", "gz2/train-00000.tar", SHARD)
    labels = np.array([LEAVES.index(n.split("::")[-1].split("/")[-2]) for n in names])
    kinds = fit_once("kind", x, np.maximum(labels - 2, 0), ("smooth", "edge_on", "spiral"), PENALTY)
    weight, bias = clean.weight[:, None] + kinds.weight, clean.bias[:, None] + kinds.bias
    return weight.reshape(-1, x.shape[1]), bias.ravel()


def fit_union(galaxies: list[Array], none: tuple[Array, Array], sure: Any) -> Typicality:
    """What is typical of the union; a third of each survey sets the percentiles.

    Every survey counts alike in them. ``sure``: weight and bias of what a label is sure by.
    """
    known = [x[: 2 * len(x) // 3] for x in galaxies]
    typical = fit_typicality(np.concatenate([x[:700] for x in known]), num_components=128)
    doubts = Doubts(
        np.vstack([none[0], sure[0]]).astype(np.float32),
        np.append(none[1], sure[1]).astype(np.float32),
        np.zeros((2, 2), np.float32),
    )
    levels = np.linspace(0, 1, 401)
    ends = [np.quantile(doubts.measure(x[2 * len(x) // 3 :]), levels, axis=1) for x in galaxies]
    quantiles = np.quantile(np.concatenate(ends), levels, axis=0).T.astype(np.float32)
    far = [np.quantile(typical.compute_distance(x[2 * len(x) // 3 :]), levels) for x in galaxies]
    distances = np.quantile(np.concatenate(far), np.linspace(0, 1, 201)).astype(np.float32)
    return replace(typical, quantiles=distances, doubts=replace(doubts, quantiles=quantiles))


def fit_frames(known: Sequence[Array], held_out: Sequence[Array], odd: list[Array]) -> Frames:
    """Good frames against bad ones; of each survey 2 % at most are called bad."""
    sets = [*known, *odd]
    group = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    labels = np.maximum(group - len(known) + 1, 0)
    weights = 1 / np.bincount(group)[group] * np.where(labels, len(known) / len(odd), 1)
    x = np.concatenate(sets)
    scale = standardize(x)
    targets = np.eye(len(odd) + 1)[labels]
    path = fit_path(scale.apply(x), targets, [1e-2], weights=weights / weights.mean())
    weight, bias = (part.astype(np.float32) for part in scale.fold(next(path)))
    draft = Frames(weight, bias)
    bias[0] += max(np.quantile(draft.measure(x), 1 - CALLED_BAD) for x in held_out)
    return draft


EFIGI = (
    Target("t_type", -6, 11),
    Target("arm_strength", 0, 1),
    Target("bar_length", 0, 1),
    Target("perturbation", 0, 1),
    Target("inner_ring", 0, 1),
    Target("outer_ring", 0, 1),
    Target("inclination", 0, 1),
)
LATEST = 10
"""T type of irregular galaxies; 11 stands for dwarf ellipticals, which look like early types."""

EFIGI_COLUMNS = (
    *("T", "Arm_Strength", "Bar_Length", "Perturbation"),
    *("Inner_Ring", "Outer_Ring", "Inclination"),
)


def fit_efigi(images: Images) -> RegressionHead:
    """Attributes that experts gave; the T type by units of its own, judged on one view."""
    rows = read_rows(images.data, "efigi")
    embedded = images.embed_views("efigi_auto", "votes/efigi", "auto", VIEWS)
    values = np.array([[float(row[name]) for name in EFIGI_COLUMNS] for row in rows])
    values[:, 1:][values[:, 1:] < -0.5] = np.nan  # not known
    views = find(embedded, [row["file"] for row in rows])
    x = views.mean(axis=1)
    head, found = fit_numbers(x, values, EFIGI, name="efigi", crop="auto")
    types = np.clip(cross_train(views, values), EFIGI[0].low, EFIGI[0].high)
    wrong = types - values[:, 0]
    own = values[:, 0] <= LATEST
    notes = {
        **measure_efigi(found, values),
        "cross_validated_t_type_but_dwarf_ellipticals": float(np.sqrt((wrong[own] ** 2).mean())),
    }
    error = np.sqrt((wrong**2).mean())
    return put_first(
        replace(head, notes={**head.notes, **notes}), train_network(views, values), error
    )


def put_first(head: RegressionHead, network: Network, error: float) -> RegressionHead:
    """The head, its first number that of a network."""
    count, width = len(head.weight), head.weight.shape[1]
    weight = np.concatenate([head.weight, np.zeros((count, len(network.weight)))], axis=1)
    weight[0] = np.concatenate([np.zeros(width), network.weight])
    layers = zip((head.hidden_weight, head.hidden_bias), network.hidden, strict=True)
    hidden_weight, hidden_bias = (np.concatenate(pair).astype(np.float32) for pair in layers)
    bias, errors = head.bias.copy(), head.error.copy()
    bias[0], errors[0] = network.bias, error
    return replace(
        head,
        weight=weight.astype(np.float32),
        bias=bias,
        error=errors,
        hidden_weight=hidden_weight,
        hidden_bias=hidden_bias,
    )


def measure_efigi(found: Array, values: Array) -> dict[str, float]:
    """How well what was found out of fold tells bars, arms and perturbed galaxies from others."""
    column = {target.name: k for k, target in enumerate(EFIGI)}
    face_on = values[:, column["inclination"]] <= 0.5
    bar, arms, odd = (column[n] for n in ("bar_length", "arm_strength", "perturbation"))
    pairs = {
        "bar": (bar, face_on & (values[:, bar] >= 0.5), face_on & (values[:, bar] == 0)),
        "arms": (arms, values[:, arms] >= 0.5, values[:, arms] <= 0.25),
        "perturbation": (odd, values[:, odd] >= 0.75, values[:, odd] <= 0.25),
    }
    return {
        f"cross_validated_auc_{name}": compute_auc(found[yes, k], found[no, k])
        for name, (k, yes, no) in pairs.items()
    }


def compute_auc(high: Array, low: Array) -> float:
    """How often one of ``high`` is larger than one of ``low``."""
    order = np.concatenate([low, high]).argsort(kind="stable").argsort(kind="stable")
    rank = order[len(low) :].sum() - len(high) * (len(high) - 1) / 2
    return float(rank / (len(high) * len(low)))


def find_galaxies(targets: Array) -> Array:
    """Shares of the leaves (n, 5) among those who call it a galaxy."""
    return np.asarray(targets[:, :-1] / targets[:, :-1].sum(axis=1, keepdims=True))


def fit_shares(rows: tuple[Array, ...]) -> tuple[Array, Array]:
    """Weight and bias of a softmax for the shares of `list_leaves`."""
    x, targets, weights, _ = rows
    scale, options = standardize(x), {"weights": weights / weights.mean()}
    return scale.fold(next(fit_path(scale.apply(x), find_galaxies(targets), [PENALTY], **options)))


def choose_temperature(logits: Array, other: Array, said: Array) -> float:
    """With which the largest share is, on average, what it is among the shares that people said."""
    temperatures = np.geomspace(0.7, 1.4, 71)
    sure = [(softmax(logits / t) * (1 - other)).max(axis=1).mean() for t in temperatures]
    most = said.max(axis=1).mean()
    return float(temperatures[int(np.argmin(np.abs(np.array(sure) - most)))])


def fit_leaves(rows: tuple[Array, ...], count: int, none: Any, clean: LinearHead) -> SharesHead:
    """Shares of the leaves; as sure, on average, as people agree on ordinary galaxies.

    Of the rows the first ``count`` are ordinary galaxies of Galaxy Zoo 2, which judge. The label
    is that of ``clean``: docs/notes/votes.md.
    """
    x, targets, weights, groups = rows
    leaves, weights = find_galaxies(targets), weights / weights.mean()
    fold = np.random.default_rng(0).permutation(np.arange(groups.max() + 1) % FOLDS)[groups]
    ((_, logits),) = cross_predict(x, leaves, fold, [PENALTY], weights=weights)
    said, logits = targets[:count], logits[:count]
    other = 1 / (1 + np.exp(-(x[:count] @ none[0] + none[1])))[:, None]
    temperature = choose_temperature(logits, other, said)
    own = softmax(logits / temperature)
    shares = np.concatenate([own * (1 - other), other], axis=1)
    weight, bias = fit_shares(rows)
    label, answers = clean.choose(x[:count]), said.argmax(axis=1)
    notes = {
        "calibrated_on": "ordinary galaxies of Galaxy Zoo 2, the truth being what most people say",
        "most_votes": float((label == answers).mean()),
        "cross_validated_largest_share": float((shares.argmax(axis=1) == answers).mean()),
        "cross_validated_rmse": float(np.sqrt(((shares - said) ** 2).mean())),
        "mean_largest_share": float(said.max(axis=1).mean()),
        "rows": len(x),
        "ordinary_rows": count,
        "folds": FOLDS,
    }
    scores = make_scores(own, said[:, :-1].argmax(axis=1))
    return SharesHead(
        "gz2",
        LEAVES,
        np.concatenate([weight, none[0][None]]).astype(np.float32),
        np.append(bias, none[1]).astype(np.float32),
        temperature,
        np.concatenate([scores, np.full_like(scores[:1], NO_SCORE)]),
        label_weight=clean.weight,
        label_bias=clean.bias,
        notes=notes,
    )


def gather_none(images: Images) -> list[Array]:
    """Embeddings of artifacts; and of sky, noise, stars and trails that are made here."""
    artifacts = [
        images.embed("artifacts", "artifacts", None, VIEWS),
        images.embed("artifacts_one", "artifacts", None),
        images.embed("artifacts_small", "artifacts as shards", SHARD),
        images.embed("artifacts_auto", "artifacts", "auto"),
    ]
    empty = [
        images.embed("empty", "empty400", None),
        images.embed("empty_auto", "empty400", "auto"),
    ]
    return [np.concatenate([x for x, _ in sets]) for sets in (artifacts, empty)]


def fit_people(images: Images, none: tuple[Array, Array]) -> dict[str, Any]:
    """The heads of shares of people, by votes."""
    heads = images.model.heads
    clean = heads["gz2_clean"]
    kaggle = {row["kaggle_id"] for row in read_rows(images.data, "gz2")}
    known = [clean, heads["decals"], heads["sdss"]]
    hidden = make_hidden([*known, fit_largest(images, kaggle), fit_artifact(images)])
    ordinary = x, votes, surveys, weights, groups = read_vote_sets(images)
    labels: dict[str, Any] = {"surveys": surveys, "weights": weights, "groups": groups}
    tree = fit_tree(x, votes, hidden, labels)
    rows = list_leaves(tree, ordinary, read_clean(images))
    return {"gz2": fit_leaves(rows, int((surveys == 0).sum()), none, clean), "tree": tree}


def main() -> None:
    """Parse, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--cache", type=Path, default=Path("embeddings"), help="folder")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    model = read_model(options.model)
    data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    images = Images(model, data, options.cache)
    surveyed = gather_galaxies(images)
    known, held_out = zip(*(np.split(x, [2 * len(x) // 3]) for x in surveyed), strict=True)
    none = fit_none(known, gather_none(images))
    voted = "gz2_clean" in model.heads
    found = fit_people(images, none) if voted else {"efigi": fit_efigi(images)}
    clean = model.heads["gz2_clean" if voted else "gz2"]
    odd = [images.embed(kind.replace(" ", "_"), kind, None)[0] for kind in KINDS]
    typicality = fit_union(surveyed, none, fit_kinds(clean, images))
    typicality = replace(typicality, frames=fit_frames(known, held_out, odd))
    add_to_model(options.model, found, typicality=typicality, scaled_frame=424)
    for name, head in found.items():
        print(name, json.dumps({k: v for k, v in head.notes.items() if k != "class_counts"}))


if __name__ == "__main__":
    main()
