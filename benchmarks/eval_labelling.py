"""How many labels it takes to find a rare class by Learn in `galmorph explore`, against random order.

    python benchmarks/eval_labelling.py [--class merging] [--cache FOLDER]

A user is simulated who knows the labels of Galaxy10 DECaLS (820 galaxies, eight classes; folder that
GALMORPH_DATA names) and asks of each galaxy whether it is of the class. The first are labelled in random order until
there are two of both; then `explorer.labels.learn` is run again and again, and the surest that have no label are
labelled, some at a time. What is counted are all labels until 95 % of the class have been found; random order
does without learning. The penalty that Learn fits with was chosen on the other seven classes. Embeddings are kept in
--cache, as those of eval_few_labels.py.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from common import print_machine
from eval_few_labels import Cached

from galmorph.explorer.galaxies import Galaxies
from galmorph.explorer.labels import learn

PART = 0.95
SEEDS = 5


def read_decals(folder: Path, cached: Cached) -> tuple[Galaxies, np.ndarray]:
    """Embeddings as those of a run, and the class of each."""
    files = sorted((folder / "decals").rglob("*.jpg"))
    names = np.array([file.parent.name for file in files])
    count = len(files)
    columns = {
        "object_id": np.array([file.stem for file in files], dtype=object),
        "path": np.array(list(map(str, files)), dtype=object),
        "flags": np.zeros(count, dtype=int),
    }
    return Galaxies(
        "decals", columns, cached.embed("decals", files, "auto").astype(np.float32)
    ), names


def count_random(wanted: np.ndarray, order: np.ndarray) -> int:
    """Labels in this order until enough are found."""
    found = np.cumsum(wanted[order])
    return int(np.searchsorted(found, np.ceil(PART * wanted.sum()))) + 1


def count_learning(galaxies: Galaxies, wanted: np.ndarray, order: np.ndarray, batch: int) -> int:
    """Labels until enough are found, the surest first."""
    goal, labels = np.ceil(PART * wanted.sum()), {}
    for row in order:
        labels[int(row)] = "yes" if wanted[row] else "no"
        if min(list(labels.values()).count(name) for name in ("yes", "no")) >= 2:
            break
    found = list(labels.values()).count("yes")
    while found < goal:
        learnt = learn(galaxies, labels)
        share = learnt.shares[:, learnt.head.class_names.index("yes")].copy()
        share[list(labels)] = -1
        for row in np.argsort(-share, kind="stable")[:batch]:
            labels[int(row)] = "yes" if wanted[row] else "no"
            found += bool(wanted[row])
            if found >= goal:
                break
    return len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--class", dest="name", default="merging")
    parser.add_argument("--model", default="fused_fast")
    parser.add_argument("--batch", type=int, default=10, help="labels between two fits")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--cache", type=Path, default=Path("build/few_labels"))
    given = parser.parse_args()
    print_machine()
    data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    galaxies, names = read_decals(data, Cached(given.model, given.cache))
    wanted = names == given.name
    print(f"{wanted.sum()} of {len(wanted)} galaxies are {given.name}; model {given.model}")
    parts = []
    for seed in range(given.seeds):
        order = np.random.default_rng(seed).permutation(len(wanted))
        learnt = count_learning(galaxies, wanted, order, given.batch)
        random = count_random(wanted, order)
        parts.append(learnt / random)
        print(
            f"seed {seed}: {learnt} labels by learning, {random} in random order: {parts[-1]:.2f}"
        )
    print(f"mean part of the labels: {np.mean(parts):.2f}, largest {np.max(parts):.2f}")


if __name__ == "__main__":
    main()
