"""What averaging over flips and quarter turns of the test images would gain, at eight times the cost.

    python benchmarks/eval_orientations.py --model fused_fast

Each image of the Galaxy Zoo 2 and SDSS test parts is classified as it is and in all eight
orientations that a square has, whose probabilities are averaged. Needs the folder that GALMORPH_DATA
names. Prints a table: accuracy, log loss and calibration error of both ways, and how often the
label of a turned image is another one.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from PIL import Image

from galmorph import classify, load_model
from galmorph.evaluation.classification import compute_ece
from galmorph.model import Model

SETS = {"gz2_clean": "gz2", "sdss": "sdss"}
"""Head and folder."""


def turn(image: np.ndarray, number: int) -> np.ndarray:
    """Orientation ``number`` of eight: quarter turns, then those of the mirror image."""
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if number >= 4 else image, number % 4))


def compute_probabilities(images: list[np.ndarray], model: Model, head: str) -> np.ndarray:
    """One row per image, one column per class."""
    table = classify([*images], model=model, head=head)
    names = model.get_head(head).class_names
    return np.stack([np.asarray(table[f"p_{name}"], dtype=float) for name in names], axis=1)


def describe(probabilities: np.ndarray, truth: np.ndarray) -> str:
    """Figures of one way."""
    right = probabilities.argmax(axis=1) == truth
    loss = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)).mean()
    return f"{right.mean():.4f} | {loss:.4f} | {compute_ece(probabilities, truth):.4f}"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="name or file [default: the bundled model]")
    options = parser.parse_args()
    data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    model = load_model(options.model)
    print("| test part | way | accuracy | log loss | ECE |")
    print("|---|---|---:|---:|---:|")
    for head, folder in SETS.items():
        files = sorted((data / folder / "test").glob("*/*.jpg"))
        if not files:
            parser.error(f"{data / folder / 'test'}: no images there; set GALMORPH_DATA")
        names = model.get_head(head).class_names
        truth = np.array([names.index(file.parent.name) for file in files])
        images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        turned = [
            compute_probabilities([turn(image, k) for image in images], model, head)
            for k in range(8)
        ]
        other = np.mean([p.argmax(axis=1) != turned[0].argmax(axis=1) for p in turned[1:]])
        print(f"| {folder}/test, {len(files)} images | as it is | {describe(turned[0], truth)} |")
        print(f"| | mean of eight | {describe(np.mean(turned, axis=0), truth)} |")
        print(f"\n{other:.2%} of the turned images get another label than the image as it is.\n")


if __name__ == "__main__":
    main()
