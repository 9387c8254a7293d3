"""How well the column ``atypicality`` tells galaxies from what is not one, or not framed as one.

    python benchmarks/eval_atypicality.py --model fused_fast --limit 500

Held-in: Galaxy Zoo 2 test originals. Against them: blank sky with the level and the noise of their
rims, pure noise, the same galaxies in a field of view 4 times too small and 4 times too large, and
the stars and artifacts of ``artifacts/``. Needs the folder that GALMORPH_DATA names. Prints JSON:
ROC AUC of the distance with its 95 % bootstrap interval, and the share above the flag's percentile.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from galmorph import embed, load_model
from galmorph.typicality import ATYPICAL_PERCENTILE

SIDE = 424


def make_sky(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blank sky of the size of an image (y, x, 3), with the level and noise of its rim."""
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(float)
    level = np.median(rim, axis=0)
    noise = np.maximum(1.4826 * np.median(np.abs(rim - level), axis=0), 1.0)
    sky = level + noise * rng.standard_normal(image.shape)
    return np.rint(sky.clip(0, 255)).astype(np.uint8)


def make_noise(rng: np.random.Generator) -> np.ndarray:
    """Noise of any level and strength."""
    noise = rng.uniform(20, 130) + rng.uniform(10, 60) * rng.standard_normal((SIDE, SIDE, 3))
    return np.rint(noise.clip(0, 255)).astype(np.uint8)


def compute_auc(typical: np.ndarray, other: np.ndarray) -> float:
    """Probability that one of the others lies above a typical one; ties count half."""
    ordered = np.sort(typical)
    below = np.searchsorted(ordered, other, side="left")
    up_to = np.searchsorted(ordered, other, side="right")
    return float((below + up_to).mean() / (2 * len(typical)))


def describe(typicality: Any, galaxies: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """AUC with its interval, and how many would be flagged."""
    inside, outside = (typicality.compute_distance(e) for e in (galaxies, others))
    rng = np.random.default_rng(0)
    draws = [
        compute_auc(rng.choice(inside, len(inside)), rng.choice(outside, len(outside)))
        for _ in range(500)
    ]
    percentile = typicality.compute_atypicality(others)
    return {
        "images": len(others),
        "auc": compute_auc(inside, outside),
        "interval": [float(q) for q in np.quantile(draws, (0.025, 0.975))],
        "flagged": float((percentile > ATYPICAL_PERCENTILE).mean()),
    }


def read_folder(folder: Path, pattern: str, limit: int) -> list[np.ndarray]:
    """Images as (y, x, 3), at most ``limit`` by chance."""
    files = sorted(folder.glob(pattern))
    if limit and limit < len(files):
        chosen = np.random.default_rng(0).choice(len(files), limit, replace=False)
        files = [files[i] for i in sorted(chosen)]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="name or file [default: the bundled model]")
    parser.add_argument("--limit", type=int, default=500, help="galaxies, 0 for all of them")
    options = parser.parse_args()
    data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    galaxies = read_folder(data / "gz2" / "test", "*/*.jpg", options.limit)
    if not galaxies:
        parser.error(f"{data}: no gz2/test/ there; set GALMORPH_DATA")
    model = load_model(options.model)
    if model.typicality is None:
        parser.error(f"model {model.name!r} does not know what typical cutouts are")
    rng = np.random.default_rng(0)
    crop = model.preprocessing.crop
    held_in = embed(galaxies, model=model)
    sets = {
        "blank_sky": ([make_sky(image, rng) for image in galaxies[:300]], None),
        "noise": ([make_noise(rng) for _ in range(300)], None),
        "field_4x_too_small": (galaxies[:300], crop / 4),
        "field_4x_too_large": (galaxies[:300], crop * 4),
        "artifacts": (read_folder(data / "artifacts", "**/*.jpg", 0), None),
    }
    inside = model.typicality.compute_atypicality(held_in)
    result: dict[str, Any] = {
        "galaxies": len(galaxies),
        "galaxies_flagged": float((inside > ATYPICAL_PERCENTILE).mean()),
    }
    for name, (images, field) in sets.items():
        embeddings = embed(images, model=model, crop=field, on_error="flag")
        seen = embeddings[np.isfinite(embeddings).all(axis=1)]
        result[name] = describe(model.typicality, held_in, seen)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
