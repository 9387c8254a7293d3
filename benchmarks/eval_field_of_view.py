"""Accuracy on Galaxy Zoo 2 test images that are cut to other fields of view.

    python benchmarks/eval_field_of_view.py --model fused_fast --limit 700

Every original (424 px, of which the weights expect the central 180) becomes a whole image of 0.5,
0.7, 1.5 and 2.5 times that field; what reaches beyond 424 px is filled with the median of the rim.
Each is classified with the field of view measured (``crop="auto"``), whole (``crop=1``) and with the
weights' own fraction of the frame. Needs the folder that GALMORPH_DATA names. Prints JSON: accuracy
with its 95 % bootstrap interval, and the points lost against the untouched originals.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from galmorph import classify, load_model
from galmorph.evaluation.classification import bootstrap_interval
from galmorph.flags import Flags

FIELD = 180
"""Side of the expected field in pixels of the originals."""

SCALES = (0.5, 0.7, 1.5, 2.5)
CROPS: dict[str, Any] = {"auto": "auto", "whole": 1.0, "fixed": 180 / 424}


def recut(image: np.ndarray, side: int) -> np.ndarray:
    """Central square of an image (y, x, 3), the rim's median beyond it."""
    short = min(image.shape[:2])
    if side > short:
        rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        canvas = np.empty((side, side, 3), dtype=np.uint8)
        canvas[:] = np.median(rim, axis=0)
        y, x = ((side - length) // 2 for length in image.shape[:2])
        canvas[y : y + image.shape[0], x : x + image.shape[1]] = image
        return canvas
    y, x = ((length - side) // 2 for length in image.shape[:2])
    return image[y : y + side, x : x + side]


def choose_files(folder: Path, limit: int, seed: int) -> list[Path]:
    """All files, or ``limit`` of them by chance, from the class folders."""
    files = sorted(folder.glob("*/*.jpg"))
    if not limit or limit >= len(files):
        return files
    chosen = np.random.default_rng(seed).choice(len(files), limit, replace=False)
    return [files[i] for i in sorted(chosen)]


def measure(images: list[np.ndarray], truth: np.ndarray, crop: Any, **given: Any) -> dict[str, Any]:
    """Accuracy of one set of images with one field of view."""
    table = classify([*images], crop=crop, **given)
    labels = np.asarray([str(label) for label in table["label"]])
    flags = np.asarray(table["flags"])
    low, high = bootstrap_interval(truth, labels, seed=0)
    return {
        "accuracy": float((labels == truth).mean()),
        "interval": [low, high],
        "no_central_source": int(((flags & Flags.NO_CENTRAL_SOURCE) != 0).sum()),
        "padded": int(((flags & Flags.PADDED) != 0).sum()),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="name or file [default: the bundled model]")
    parser.add_argument("--head", default="gz2_clean")
    parser.add_argument("--limit", type=int, default=700, help="galaxies, 0 for all of them")
    parser.add_argument("--seed", type=int, default=0, help="of their choice")
    options = parser.parse_args()
    folder = Path(os.environ.get("GALMORPH_DATA", "../shared/data")) / "gz2" / "test"
    files = choose_files(folder, options.limit, options.seed)
    if not files:
        parser.error(f"{folder}: no images there; set GALMORPH_DATA")
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    truth = np.asarray([file.parent.name for file in files])
    given = {"model": load_model(options.model), "head": options.head}
    standard = measure(images, truth, None, **given)
    result: dict[str, Any] = {"galaxies": len(files), "standard": standard}
    result["auto_on_originals"] = measure(images, truth, "auto", **given)
    for scale in SCALES:
        frames = [recut(image, round(FIELD * scale)) for image in images]
        found = {name: measure(frames, truth, crop, **given) for name, crop in CROPS.items()}
        for values in found.values():
            values["points_lost"] = 100 * (standard["accuracy"] - values["accuracy"])
        result[f"field_x{scale}"] = found
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
