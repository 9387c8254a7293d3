"""Simulated galaxies of two classes, for what is trained on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw_galaxy(kind: str, seed: int, side: int = 48) -> np.ndarray:
    """A round or an edge-on galaxy (y, x, 3) uint8, at any angle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angle = rng.uniform(0, np.pi)
    ratio = {"round": 0.95, "edge_on": 0.15}[kind]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light = np.exp(-np.hypot(along, across / ratio) / rng.uniform(4, 6))
    pixels = 15 + 220 * light[:, :, None] * np.array([1.0, 0.85, 0.7])
    noise = rng.normal(0, 4, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def write_galaxies(folder: Path, kind: str, seeds: range) -> None:
    """Write PNGs into ``folder/kind``."""
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        Image.fromarray(draw_galaxy(kind, seed)).save(folder / kind / f"{kind}{seed}.png")
