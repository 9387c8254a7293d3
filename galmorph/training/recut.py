"""Labelled cutouts as frames that end too early, so that a head learns those as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from galmorph.images.cutout import Cutout
from galmorph.images.memory import InMemory
from galmorph.images.read import read_cutout
from galmorph.images.source import Source
from galmorph.settings import ReadOptions

__all__ = ["Recut", "cut_center", "recut_sources"]

RECUT_SHARE = 0.5
"""Part of the cutouts that is also learnt from as smaller frames."""


@dataclass(frozen=True, slots=True)
class Recut:
    """Smaller frames made of some cutouts, which are taken by chance."""

    side: float  # of the new frame, as a fraction of the shorter side of the image
    share: float = RECUT_SHARE
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.side <= 1 and 0 < self.share <= 1):
            raise ValueError(f"side and share lie in 0 to 1, not {self.side} and {self.share}")


def cut_center(cutout: Cutout, side: float) -> Cutout:
    """Central square of a cutout, ``side`` times its shorter side."""
    height, width = cutout.array.shape[1:]
    pixels = max(1, round(side * min(height, width)))
    y, x = (height - pixels) // 2, (width - pixels) // 2
    rows, columns = slice(y, y + pixels), slice(x, x + pixels)
    bad = None if cutout.bad is None else cutout.bad[rows, columns]
    return replace(cutout, array=cutout.array[:, rows, columns], bad=bad)


def recut_sources(
    sources: Iterable[Source], recut: Recut, *, options: ReadOptions
) -> Iterator[Source]:
    """Read some of the sources and pass on the middle of each; what cannot be read is left out."""
    rng = np.random.default_rng(recut.seed)
    for source in sources:
        if rng.random() >= recut.share:
            continue
        try:
            cutout = read_cutout(source, options=options)
        except Exception:  # as where whole frames are read, which names the file
            continue
        smaller = cut_center(cutout, recut.side)
        yield InMemory(source.object_id, smaller, source.address, source.columns)
