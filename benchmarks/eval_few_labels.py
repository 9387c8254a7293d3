"""Which encoder to take for a question of your own: accuracy with 10, 100 and 1,000 labels.

    python benchmarks/eval_few_labels.py --model fused_fast --model wei2022 --figure few_labels.png

Encoders stay as they are. A ridge classifier learns from a few labelled galaxies (drawn 20 times, at least
one of each class among them; its penalty by leave-one-out within them, all classes with the same weight) and is
measured on the others. Accuracy is that of all images; of the two questions with two classes, where one is rare, the
mean of the two. Questions: Galaxy Zoo 2 in five classes; DECaLS in eight; bar or none (EFIGI); merger or none (DECaLS).
A model is a name or a file; ``random:NAME`` is an architecture of galmorph's or timm's with random weights;
``timm:NAME`` one of timm's with its published weights, where these can be had: random ones otherwise, and the
table says so. Embeddings are kept in --cache, so that a second run takes minutes. Needs the folder that
GALMORPH_DATA names, and scikit-learn.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import print_machine

from galmorph import embed, load_model
from galmorph.images.discover import discover_sources
from galmorph.model import Model

FRAME = 224 / 424
"""The training shards of Galaxy Zoo 2 show the central 224 px of 424."""

POOL = 3000
"""Training images of Galaxy Zoo 2 that labels are drawn from."""

SIZES = (10, 100, 1000)
DRAWS = 20
LEARN = 0.8
"""Part of a set without a test part that is learnt from, at most."""

PENALTIES = tuple(10.0 ** np.arange(-1, 6))
BARRED, UNBARRED, FACE_ON = 0.5, 0.0, 0.5
"""Bar lengths of EFIGI that count as a bar and as none; largest inclination at which one is seen."""


@dataclass(frozen=True)
class Task:
    """A question: embeddings and classes; which rows may be learnt from, None for any."""

    name: str
    embeddings: np.ndarray
    labels: np.ndarray
    learn: np.ndarray | None = None

    def split(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from, as many as asked for or as there may be, and rows to measure on."""
        rows = rng.permutation(len(self.labels))
        if self.learn is None:
            cut = int(LEARN * len(rows))
            pool, test = rows[:cut], rows[cut:]
        else:
            pool, test = rows[self.learn[rows]], rows[~self.learn[rows]]
        _, first = np.unique(self.labels[pool], return_index=True)  # one of each class
        order = np.concatenate((first, np.setdiff1d(np.arange(len(pool)), first, True)))
        return pool[order[:count]], test

    @property
    def largest(self) -> int:
        """Most labels that can be learnt from."""
        return int(LEARN * len(self.labels)) if self.learn is None else int(self.learn.sum())


class Cached:
    """Embeddings by one model, kept on disk."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.model = load(name)
        weights = self.model.encoder.state_dict().values()
        digest = hashlib.sha256(b"".join(w.numpy().tobytes() for w in weights)).hexdigest()
        self.folder = folder / digest[:16]

    def embed(self, key: str, sources: Sequence[Any], crop: Any = None) -> np.ndarray:
        """Embeddings of a set, (n, num_features)."""
        path = self.folder / f"{key}.npy"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            np.save(path, embed(sources, model=self.model, crop=crop))
        return np.load(path)


def load(spec: str) -> tuple[str, Model]:
    """A model and what to call it."""
    kind, _, name = spec.rpartition(":")
    if kind not in ("random", "timm"):
        return Path(spec).stem, load_model(spec)
    import torch

    from galmorph.encoders.registry import create_encoder, list_encoders

    torch.manual_seed(0)
    if name in list_encoders():
        known = load_model(name)
        return f"{name}, random weights", make(name, create_encoder(name), known.preprocessing)
    import timm

    from galmorph.encoders.timm_adapter import TimmEncoder
    from galmorph.preprocessing.pipeline import Preprocessing

    label = f"{name}, random weights"
    encoder = TimmEncoder(name.partition(".")[0], img_size=224)
    if kind == "timm":
        try:
            encoder.network = timm.create_model(name, pretrained=True, num_classes=0)
            label = f"{name}, as timm publishes it"
        except Exception as error:  # whatever a network may do
            print(f"{name}: no published weights to be had ({type(error).__name__})")
    data = timm.data.resolve_model_data_config(encoder.network)
    size, mean, std = data["input_size"][-1], data["mean"], data["std"]
    encoder.img_size = size
    steps = Preprocessing(img_size=size, crop=180 / 424, mean=mean, std=std)
    return label, make(name, encoder, steps)


def make(name: str, encoder: Any, preprocessing: Any) -> Model:
    """A model of an encoder alone."""
    return Model(name, name, encoder.eval().requires_grad_(False), preprocessing)


def make_tasks(data: Path, cached: Cached) -> list[Task]:
    """All questions, with the embeddings of one model."""
    shards = sorted((data / "gz2").glob("train-*.tar"))
    train = [source for shard in shards for source in discover_sources(shard)]
    train = train[:: max(1, len(train) // POOL)][:POOL]
    test = sorted((data / "gz2" / "test").rglob("*.jpg"))
    gz2 = [name_class(source.address) for source in train] + [file.parent.name for file in test]
    crop = cached.model.preprocessing.crop
    parts = cached.embed("gz2_train", train, crop / FRAME), cached.embed("gz2_test", test)
    learn = np.arange(len(gz2)) < len(train)
    decals = sorted((data / "decals").rglob("*.jpg"))
    classes = np.array([file.parent.name for file in decals])
    vectors = cached.embed("decals", decals, "auto")
    bars, barred = read_bars(data / "votes")
    return [
        Task("Galaxy Zoo 2, 5 classes", np.concatenate(parts), np.array(gz2), learn),
        Task("DECaLS, 8 classes", vectors, classes),
        Task("bar or none, EFIGI", cached.embed("efigi_bars", bars, "auto"), barred),
        Task("merger or none, DECaLS", vectors, classes == "merging"),
    ]


def name_class(address: str) -> str:
    """Class of a member of a training shard."""
    return address.rpartition("::")[2].split("/")[-2]


def read_bars(folder: Path) -> tuple[list[Path], np.ndarray]:
    """Galaxies of EFIGI with a long bar or none, that are not seen from the side."""
    with (folder / "efigi.csv").open(newline="", encoding="utf-8") as file:
        rows = [(r["file"], float(r["Bar_Length"]), r) for r in csv.DictReader(file)]
    clear = [
        (folder / name, length >= BARRED)
        for name, length, row in rows
        if (length >= BARRED or length == UNBARRED) and 0 <= float(row["Inclination"]) <= FACE_ON
    ]
    return [path for path, _ in clear], np.array([barred for _, barred in clear])


def measure(task: Task, count: int) -> np.ndarray:
    """Accuracy of each draw; of two classes the mean."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    score = balanced_accuracy_score if len(set(task.labels)) == 2 else accuracy_score
    found = []
    for seed in range(DRAWS):
        learn, test = task.split(count, np.random.default_rng(seed))
        probe = make_pipeline(
            StandardScaler(), RidgeClassifierCV(PENALTIES, class_weight="balanced")
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a feature that is the same in ten galaxies
            probe.fit(task.embeddings[learn], task.labels[learn])
            predicted = probe.predict(task.embeddings[test])
        found.append(score(task.labels[test], predicted))
    return np.array(found)


def draw(path: Path, found: dict[str, dict[str, dict[int, np.ndarray]]]) -> None:
    """Accuracy against labels, a panel for each question."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    names = list(next(iter(found.values())))
    for axes, task in zip(figure.subplots(1, len(names)), names, strict=True):
        for model, tasks in found.items():
            sizes = list(tasks[task])
            means, spreads = ([f(x) for x in tasks[task].values()] for f in (np.mean, np.std))
            axes.errorbar(sizes, means, spreads, fmt="o-", capsize=2, label=model)
        axes.set(title=task, xlabel="labels", xscale="log")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def parse(arguments: Sequence[str] | None = None) -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", required=True, help="once or several times")
    parser.add_argument("--figure", type=Path, help="draw it (.png, .pdf, .svg)")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "galmorph"
    parser.add_argument("--cache", type=Path, default=cache / "few_labels", help="for embeddings")
    options = parser.parse_args(arguments)
    options.data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    if not (options.data / "votes").is_dir():
        parser.error(f"{options.data}: no folder votes/ there; set GALMORPH_DATA")
    return options


def main() -> None:
    """Embed, learn, measure, print."""
    options = parse()
    print_machine()
    found: dict[str, dict[str, dict[int, np.ndarray]]] = {}
    print("| encoder | question | labels | accuracy, mean of 20 draws | their standard deviation |")
    print("|---|---|---:|---:|---:|")
    for spec in options.model:
        cached = Cached(spec, options.cache)
        for task in make_tasks(options.data, cached):
            for size in sorted({min(size, task.largest) for size in SIZES}):
                accuracy = measure(task, size)
                found.setdefault(cached.name, {}).setdefault(task.name, {})[size] = accuracy
                cells = (cached.name, task.name, size, f"{accuracy.mean():.3f}")
                print("|", *(f"{cell} |" for cell in cells), f"{accuracy.std():.3f} |", flush=True)
    if options.figure:
        draw(options.figure, found)


if __name__ == "__main__":
    main()
