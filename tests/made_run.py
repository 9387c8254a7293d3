"""A run of two kinds of galaxies that lie apart, made without a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from galmorph.tables import build_table, result_columns, write_table
from galmorph.tables.columns import class_columns

COUNT = 80
WIDTH = 512


def make_run(folder: Path, *, count: int = COUNT, suffix: str = ".fits", embedding: bool = True):
    """Images and table; the first half is round and red, the second has arms and is blue."""
    rng = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    second = np.arange(count) >= count // 2
    for row in range(count):
        pixels = rng.integers(0, 40, (48, 48, 3), dtype=np.uint8)
        pixels[12:36, 12:36, 2 if second[row] else 0] = 160 + row
        Image.fromarray(pixels).save(folder / "images" / f"g{row:03}.png")
    share = np.where(second, 0.6 + 0.004 * np.arange(count), 0.4 - 0.004 * np.arange(count))
    columns = {
        "object_id": [f"g{row:03}" for row in range(count)],
        "label": ["spiral" if s else "smooth" for s in second],
        "confidence": np.maximum(share, 1 - share),
        "p_smooth": 1 - share,
        "p_spiral": share,
        "flags": np.where(np.arange(count) % 10 == 0, 1 << 15, 0),
        "path": [str(folder / "images" / f"g{row:03}.png") for row in range(count)],
        "ra": 150 + 0.01 * np.arange(count),
        "dec": 2 + 0.01 * np.arange(count),
        "embedding": rng.normal(size=(count, WIDTH)) + 3 * second[:, None],
        "atypicality": np.linspace(0, 100, count),
        "message": [""] * count,
    }
    head = class_columns(("smooth", "spiral"))
    specs = result_columns(head, embedding_dim=WIDTH if embedding else None)
    path = folder / f"run{suffix}"
    write_table(build_table(specs, columns, {"model": "fused_fast", "field": {"crop": 0.5}}), path)
    return path
