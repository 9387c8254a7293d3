"""A head from a few labels, and which galaxies to label next."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphError, TrainingError
from galmorph.explorer.galaxies import WAY_OUT, Galaxies
from galmorph.heads import LinearHead, make_class_name
from galmorph.model import compute_signature, write_heads
from galmorph.neighbours.vectors import list_blocks
from galmorph.pipeline import load_model
from galmorph.training.heads import fit_head


@dataclass(frozen=True)
class Learnt:
    """A head fitted on labels, its shares (n, k) of every galaxy, and its figures."""

    head: LinearHead
    shares: npt.NDArray[np.float32]
    accuracy: float
    interval: tuple[float, float]
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        """Accuracy by cross-validation, in one sentence."""
        counts = ", ".join(f"{n} {name}" for name, n in self.head.notes["class_counts"].items())
        low, high = self.interval
        said = (
            f"{self.accuracy:.0%} right in cross-validation (95 % interval {low:.0%} to {high:.0%})"
        )
        left = f"; left out, labelled once: {', '.join(self.left_out)}" if self.left_out else ""
        return f"Learnt from {counts}: {said}{left}"


def learn(galaxies: Galaxies, labels: Mapping[int, str], *, name: str = "mine") -> Learnt:
    """Fit a head on the labelled rows; classes with a single label are left out."""
    if galaxies.embeddings is None:
        raise TrainingError(f"{galaxies.name} holds no embeddings to learn from; {WAY_OUT}")
    known = {row: make_class_name(text) for row, text in labels.items() if galaxies.encoded[row]}
    counts = Counter(known.values())
    class_names = sorted(label for label, count in counts.items() if count > 1)
    if len(class_names) < 2:
        raise TrainingError(
            "learning needs two classes with two labels each; so far "
            + (", ".join(f"{n} {label}" for label, n in counts.items()) or "there are none")
        )
    rows = [row for row, label in known.items() if label in class_names]
    numbers = np.array([class_names.index(known[row]) for row in rows])
    embeddings = galaxies.embeddings[rows].astype(np.float32)
    found = fit_head(embeddings, numbers, class_names, name=name, seed=0, balanced=True)
    shares = np.empty((len(galaxies), len(class_names)), dtype=np.float32)
    for part, block in list_blocks(galaxies.embeddings):
        shares[part] = found.head.compute_probabilities(block)
    left = tuple(sorted(set(counts) - set(class_names)))
    return Learnt(found.head, shares, found.accuracy, found.interval, left)


def save_head(path: str | Path, learnt: Learnt, meta: Mapping[str, Any]) -> None:
    """Write the head for ``galmorph classify --head``, with what the embeddings were made by."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise TrainingError(f"{path}: the name of a head ends in .safetensors")
    field, rendering = meta.get("field") or {}, meta.get("rendering") or {}
    notes = dict(learnt.head.notes)
    if field.get("fov") is not None:
        notes["fov"] = field["fov"]
    if rendering.get("stretch", "auto") != "auto":
        notes["pixels"] = {"stretch": rendering["stretch"]}
    name = make_class_name(path.stem)
    head = replace(learnt.head, name=name, crop=field.get("crop"), notes=notes)
    model = str(meta.get("model", ""))
    try:
        signature = compute_signature(load_model(model)) if model else ()
    except GalmorphError:  # a model by file that is elsewhere now: its name has to do
        signature = ()
    write_heads(path, {name: head}, model=model, signature=signature)
