"""Which pretraining recipe gives the better embedding, judged by labels that none of them has used.

    python benchmarks/compare_recipes.py benchmarks/recipes/*.toml -o RUNS

Trains the recipes one after the other (``galmorph pretrain`` on the training shards in the folder that
GALMORPH_DATA names) into RUNS/<name of the recipe>, and goes on where a run was stopped. Then a
linear probe and kNN are fitted on labels of a part of the training images and measured on the quarter
of them that every recipe holds out (``hold_out = 0.25``). Test parts are not touched. Prints a table;
the differences are to the first recipe on the same images, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import print_machine

from galmorph.evaluation.classification import find_by_knn
from galmorph.model import Model, read_model
from galmorph.training.contrastive import PretrainingRun
from galmorph.training.data import TrainingSet, is_held_out, load_training_set
from galmorph.training.heads import fit_head
from galmorph.training.recipe import Recipe, load_recipe
from galmorph.training.views import make_eval_view

SETS = ("gz2", "sdss", "unlabelled")
FRAME = 224 / 424
"""The training shards show the central 224 px of 424."""

HELD_OUT = 0.25
FIT_ON = 4000
"""Labelled images of a survey that the probe learns from, at most."""

BATCH_SIZE = 256
RESAMPLINGS = 2000


@dataclass(frozen=True)
class Split:
    """Rows of one survey: those that a probe learns from, and those that it is judged by."""

    name: str
    classes: tuple[str, ...]
    fit: np.ndarray
    judge: np.ndarray


def split_survey(data: TrainingSet, domain: int) -> Split:
    """The same rows for every recipe."""
    rows = np.flatnonzero((data.domains == domain) & (data.labels >= 0))
    held = np.array([is_held_out(data.object_ids[row], HELD_OUT) for row in rows])
    fit = np.random.default_rng(0).permutation(rows[~held])[:FIT_ON]
    return Split(SETS[domain], data.class_names[domain], np.sort(fit), rows[held])


def embed(model: Model, recipe: Recipe, data: TrainingSet, rows: np.ndarray) -> np.ndarray:
    """Embeddings of the view that users' cutouts give, in bfloat16 products."""
    encoder = model.encoder.eval().to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (recipe.mean, recipe.std))
    found = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(rows), BATCH_SIZE):
            images = torch.from_numpy(data.images[rows[start : start + BATCH_SIZE]])
            size = model.preprocessing.img_size
            views = (make_eval_view(images, img_size=size, field=recipe.eval_field) - mean) / std
            found.append(encoder(views.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(found).numpy()


def judge(model: Model, recipe: Recipe, data: TrainingSet, split: Split) -> dict[str, np.ndarray]:
    """Which of the held-out images each protocol gets right."""
    learnt, asked = (embed(model, recipe, data, rows) for rows in (split.fit, split.judge))
    labels, truth = data.labels[split.fit], data.labels[split.judge]
    head = fit_head(learnt, labels, split.classes, name="probe", seed=0).head
    return {
        f"{split.name} probe": head.compute_probabilities(asked).argmax(axis=1) == truth,
        f"{split.name} kNN": find_by_knn(learnt, labels, asked) == truth,
    }


def time_steps(recipe: Recipe, data: TrainingSet, count: int = 3) -> float:
    """Processor seconds of a step in one thread."""
    run = PretrainingRun(data, recipe)
    run.advance()
    began = time.process_time()
    for _ in range(count):
        run.advance()
    return (time.process_time() - began) / count


def train(file: Path, folder: Path, sources: list[str], seed: int) -> None:
    """One run to its end, unless it is there."""
    if (folder / "model.safetensors").exists():
        return
    resume = ["--resume"] if (folder / "checkpoint.pt").exists() else []
    crop = ["--crop", str(FRAME * load_recipe(str(file)).eval_field)]
    command = [sys.executable, "-m", "galmorph", "pretrain", *sources, "--recipe", str(file), *crop]
    subprocess.run([*command, "--seed", str(seed), "-o", str(folder), *resume], check=True)


def describe(right: np.ndarray, first: np.ndarray) -> str:
    """Accuracy, and the difference to the first recipe in points."""
    if right is first:
        return f"{right.mean():.4f}"
    rng = np.random.default_rng(0)
    change = right.astype(float) - first
    means = [rng.choice(change, len(change)).mean() for _ in range(RESAMPLINGS)]
    low, high = 100 * np.percentile(means, (2.5, 97.5))
    return f"{right.mean():.4f} ({100 * change.mean():+.1f}; {low:+.1f} to {high:+.1f})"


def parse(arguments: list[str] | None = None) -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", type=Path, help="the first is compared with")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-train", action="store_true", help="measure the runs that are there")
    options = parser.parse_args(arguments)
    options.data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    if not (options.data / "gz2").is_dir():
        parser.error(f"{options.data}: no folder gz2/ there; set GALMORPH_DATA")
    for file in options.recipes:
        recipe = load_recipe(str(file))
        if recipe.guided and recipe.hold_out != HELD_OUT:
            parser.error(f"{file}: a recipe that uses labels needs hold_out = {HELD_OUT}")
    return options


def main() -> None:
    """Train, measure, print."""
    options = parse()
    sources = [str(options.data / name) for name in SETS]
    if not options.no_train:
        for file in options.recipes:
            train(file, options.output / file.stem, sources, options.seed)
    print_machine()
    data = load_training_set(sources)
    splits = [split_survey(data, domain) for domain in range(2)]
    for split in splits:
        print(f"{split.name}: fitted on {len(split.fit)}, judged by {len(split.judge)} images")
    torch.set_num_threads(1)
    first: dict[str, np.ndarray] = {}
    for file in options.recipes:
        model_file = options.output / file.stem / "model.safetensors"
        if not model_file.exists():
            print(f"| {file.stem} | not trained |")
            continue
        recipe, model, right = load_recipe(str(file)), read_model(model_file), {}
        for split in splits:
            right |= judge(model, recipe, data, split)
        if not first:
            first = right
            print("| recipe | seconds per step |", " | ".join(right), "|")
            print("|---|---:|" + "---:|" * len(right))
        cells = [describe(right[key], first[key]) for key in right]
        print(
            f"| {file.stem} | {time_steps(recipe, data):.2f} |", " | ".join(cells), "|", flush=True
        )


if __name__ == "__main__":
    main()
