"""Make the pictures of the explorer for the docs, from simulated galaxies.

    python tools/make_screenshots.py [--folder FOLDER] [--chromium /usr/bin/chromium]

Simulates galaxies as `examples/make_examples.py` does, classifies them, opens the explorer in a headless
Chromium (Playwright, extra `browser`), and writes docs/_static/explore.png and explore_dark.png. What is in
FOLDER already is not made again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from make_examples import Galaxy, edge_on, smooth, spiral, write_jpeg  # noqa: E402

COUNT = 240
PNG_COLOURS = 128
"""A palette keeps a picture well below 400 kB."""


def draw_galaxy(number: int, rng: np.random.Generator) -> Galaxy:
    """One galaxy of four kinds: round, cigar-shaped, edge-on, with arms (half of them barred)."""
    degrees, magnitude = rng.uniform(0, 180), rng.uniform(15.2, 16.8)
    kind = number % 4
    if kind == 0:
        return smooth(
            f"round_{number}", rng.uniform(1.6, 3), rng.uniform(0.8, 1), degrees, magnitude
        )
    if kind == 1:
        ratio = rng.uniform(0.28, 0.6)
        return smooth(f"cigar_{number}", rng.uniform(2, 3.2), ratio, degrees, magnitude)
    if kind == 2:
        half = rng.uniform(2.8, 4.6)
        return edge_on(f"edge_on_{number}", half, degrees, magnitude, rng.uniform(1, 2.4))
    half = rng.uniform(2.8, 4.4)
    arms = {"arms": 2, "pitch": rng.uniform(14, 26), "strength": rng.uniform(0.5, 0.9)}
    if number % 8 == 7:
        arms["bar"] = 0.5 * half
    return spiral(
        f"spiral_{number}", half, rng.uniform(0.55, 0.95), degrees, magnitude - 0.6, **arms
    )


def make_galaxies(folder: Path, count: int, *, seed: int = 21) -> None:
    """Write JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, rng in enumerate(np.random.default_rng(seed).spawn(count)):
        galaxy = draw_galaxy(number, rng)
        if not (folder / f"{galaxy.name}.jpg").exists():
            write_jpeg(galaxy, folder, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/screenshots"))
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    make_galaxies(given.folder / "galaxies", given.count)


if __name__ == "__main__":
    main()
