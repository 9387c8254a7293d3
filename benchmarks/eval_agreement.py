"""How far the labels go: what several models miss together on a test part, and what they gain together.

    python benchmarks/eval_agreement.py --model fused_fast --model other.safetensors --test sdss

Each model (name or file) classifies the same test images with the head of the same name. Where
models that were trained apart agree with each other against the label, the label is in doubt; if
their mean is no better than each of them alone, more of the same will not help. Needs the folder
that GALMORPH_DATA names. Prints tables.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from galmorph import classify, load_model


def compute_probabilities(files: list[Path], name: str, head: str) -> np.ndarray:
    """One row per file, one column per class, in the head's order."""
    model = load_model(name)
    table = classify(files, model=model, head=head, on_error="raise")
    names = model.get_head(head).class_names
    return np.stack([np.asarray(table[f"p_{name}"], dtype=float) for name in names], axis=1)


def print_accuracies(
    models: dict[str, np.ndarray], truth: np.ndarray, *, where: np.ndarray
) -> None:
    """Each model, their mean, and the part on which all of them agree."""
    found = {name: p.argmax(axis=1) for name, p in models.items()}
    mean = np.mean(list(models.values()), axis=0).argmax(axis=1)
    print("| | images | accuracy |\n|---|---:|---:|")
    for name, labels in [*found.items(), ("mean of their probabilities", mean)]:
        print(f"| {name} | {len(truth)} | {(labels == truth).mean():.4f} |")
    for name, part in (("all of them agree", where), ("they do not agree", ~where)):
        right = (mean == truth)[part].mean() if part.any() else float("nan")
        print(f"| {name} | {part.sum()} | {right:.4f} |")


def print_missed(
    mean: np.ndarray, truth: np.ndarray, class_names: tuple[str, ...], missed: np.ndarray
) -> None:
    """What those that all models miss were called instead."""
    print("| label | called | images | mean probability of what they were called |")
    print("|---|---|---:|---:|")
    called = mean.argmax(axis=1)
    pairs = {(int(a), int(b)) for a, b in zip(truth[missed], called[missed], strict=True)}
    count = {(a, b): (missed & (truth == a) & (called == b)) for a, b in pairs}
    for (a, b), part in sorted(count.items(), key=lambda item: -int(item[1].sum())):
        surely = mean[part, b].mean()
        print(f"| {class_names[a]} | {class_names[b]} | {part.sum()} | {surely:.3f} |")


def main() -> None:
    """Parse, classify, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", required=True, help="two or more times")
    parser.add_argument("--test", choices=("gz2", "sdss"), default="sdss")
    options = parser.parse_args()
    data = Path(os.environ.get("GALMORPH_DATA", "../shared/data")) / options.test / "test"
    files = sorted(data.glob("*/*.jpg"))
    if not files:
        parser.error(f"{data}: no images there; set GALMORPH_DATA")
    class_names = load_model(options.model[0]).get_head(options.test).class_names
    truth = np.array([class_names.index(file.parent.name) for file in files])
    models = {name: compute_probabilities(files, name, options.test) for name in options.model}
    labels = np.stack([p.argmax(axis=1) for p in models.values()])
    agree = (labels == labels[0]).all(axis=0)
    missed = (labels != truth).all(axis=0)
    print(f"{options.test}/test, {len(files)} images; {missed.sum()} are missed by every model\n")
    print_accuracies(models, truth, where=agree)
    print()
    print_missed(np.mean(list(models.values()), axis=0), truth, class_names, missed)


if __name__ == "__main__":
    main()
