"""Frames that show a galaxy badly, made of good ones: shifted, cut off, or small beside a big one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

KINDS = ("shifted", "cut off", "beside a big one")

FIELD = 180 / 424
"""Part of the frame that shows the galaxy."""


def make_odd_frames(kind: str, data: Path) -> Iterator[Array]:
    """Of every second galaxy of votes/gz2, every fourth of DECaLS, every twelfth of EFIGI."""
    files = [
        *sorted((data / "votes" / "gz2").glob("*.jpg"))[::2],
        *sorted((data / "decals").rglob("*.jpg"))[::4],
        *sorted((data / "votes" / "efigi").glob("*"))[::12],
    ]
    return make_odd_of(kind, files)


def make_odd_of(kind: str, files: list[Path]) -> Iterator[Array]:
    """One of each file, with another one beside it where the kind has two galaxies."""
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    others = np.random.default_rng(0).permutation(len(images))
    for seed, (image, other) in enumerate(zip(images, others, strict=True)):
        yield make_odd(kind, image, images[other], seed)


def make_odd(kind: str, image: Array, other: Array, seed: int) -> Array:
    """One frame (y, x, 3), of the size of ``image``, uint8; ``other`` is another galaxy."""
    rng = np.random.default_rng(seed)
    side = FIELD * min(image.shape[:2])
    angle = rng.uniform(0, 2 * np.pi)
    if kind == "shifted":
        return _shift(image, angle, side * rng.uniform(0.3, 0.45))
    if kind == "cut off":  # the frame, or what is known of the sky, ends in the galaxy
        return _cut(image, int(rng.integers(4)), side * rng.uniform(-0.08, 0.08))
    big = _shift(image, angle, side * rng.uniform(0.35, 0.5))
    part = rng.uniform(0.2, 0.35)
    return np.maximum(big, _shrink(other, image.shape, part))


def _shift(image: Array, angle: float, length: float) -> Array:
    """Moved by so many pixels; what comes in is mirrored."""
    y, x = (round(length * f(angle)) for f in (np.sin, np.cos))
    pad = ((abs(y), abs(y)), (abs(x), abs(x)), (0, 0))
    padded = np.pad(image, pad, mode="reflect")
    top, left = abs(y) - y, abs(x) - x
    return padded[top : top + image.shape[0], left : left + image.shape[1]]


def _cut(image: Array, turns: int, beyond: float) -> Array:
    """Black beyond a line so many pixels past the middle."""
    turned = np.rot90(image, turns).copy()
    turned[round(turned.shape[0] / 2 + beyond) :] = 0
    return np.rot90(turned, -turns)


def _shrink(image: Array, shape: tuple[int, ...], part: float) -> Array:
    """The middle of an image, smaller, in the middle of black."""
    side = 2 * round(FIELD * min(image.shape[:2]) / 2)
    top, left = ((n - side) // 2 for n in image.shape[:2])
    middle = Image.fromarray(image[top : top + side, left : left + side])
    size = max(8, round(part * FIELD * min(shape[:2])))
    small = np.asarray(middle.resize((size, size), Image.Resampling.BOX))
    fade = np.clip(6 * (1 - np.abs(np.linspace(-1, 1, size))), 0, 1)
    result = np.zeros(shape, np.uint8)
    y, x = ((n - size) // 2 for n in shape[:2])
    result[y : y + size, x : x + size] = small * (fade[:, None] * fade)[..., None]
    return result
