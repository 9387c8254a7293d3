"""Linear heads: embeddings to calibrated probabilities of named classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from galmorph.heads.base import Head
from galmorph.quantities import Array
from galmorph.tables.columns import ColumnSpec, class_columns, probability_name

MAX_SCORES = 400  # calibration cutouts that a head keeps of each class
NO_SCORE = 2.0  # above all scores


def softmax(logits: Array) -> Array:
    """Probabilities along the last axis; rows sum to 1."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return np.asarray(shares, dtype=np.float32)


@dataclass(frozen=True)
class LinearHead(Head):
    """A linear probe with a temperature; `scores` (num_classes, m) are `sets.make_scores`."""

    kind: ClassVar[str] = "linear"
    ARRAYS: ClassVar[tuple[str, ...]] = ("weight", "bias", "scores")
    OPTIONAL: ClassVar[tuple[str, ...]] = ("scores",)
    class_names: tuple[str, ...]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    temperature: float = 1.0
    scores: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        k = len(self.class_names)
        if k < 2 or len({name.lower() for name in self.class_names}) != k:
            raise ValueError(
                "a head needs two or more classes, which differ in more than capitals; not "
                f"{self.class_names}"
            )
        bad = [c for c in self.class_names if not re.fullmatch(r"\w+", c)]
        if bad:
            raise ValueError(f"class names are letters, digits and underscores; not {bad}")
        columns = [probability_name(name) for name in self.class_names]
        if len({"p_", *columns}) != k + 1:
            raise ValueError(
                "the columns of classes hold the letters a to z and digits, by which they must "
                f"differ; not {self.class_names}, which become {columns}"
            )
        if self.weight.ndim != 2 or len(self.weight) != k or self.bias.shape != (k,):
            raise ValueError(f"{k} classes but weight {self.weight.shape}, bias {self.bias.shape}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if self.scores is not None and (self.scores.ndim != 2 or len(self.scores) != k):
            raise ValueError(f"{k} classes but scores {self.scores.shape}")

    @property
    def num_features(self) -> int:
        return int(self.weight.shape[1])

    @property
    def names(self) -> tuple[str, ...]:
        return self.class_names

    def columns(self) -> tuple[ColumnSpec, ...]:
        return class_columns(self.class_names)

    def fill(self, embeddings: Array) -> dict[str, Any]:
        probabilities = self.compute_probabilities(embeddings)
        columns = {probability_name(c): probabilities[:, k] for k, c in enumerate(self.class_names)}
        labels = [self.class_names[k] for k in self.choose(embeddings)]
        return {"label": labels, "confidence": probabilities.max(axis=1), **columns}

    def choose(self, embeddings: Array) -> Array:
        """Index of the label."""
        return np.asarray(self.compute_probabilities(embeddings).argmax(axis=1))

    def find_sets(self, embeddings: Array, coverage: float) -> list[str] | None:
        if self.scores is None:
            return None
        found = find_sets(self.compute_probabilities(embeddings), self.scores, coverage)
        return list_sets(found, self.class_names)

    def describe(self) -> dict[str, Any]:
        return {"class_names": list(self.class_names), "temperature": self.temperature}

    @classmethod
    def restore(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        names, temperature = tuple(values["class_names"]), float(values["temperature"])
        return {"class_names": names, "temperature": temperature}

    def compute_logits(self, embeddings: Array) -> Array:
        """Linear map before the temperature, (n, num_features) to (n, num_classes)."""
        return np.asarray(embeddings @ self.weight.T + self.bias)

    def compute_probabilities(self, embeddings: Array) -> Array:
        """Calibrated probabilities, (n, num_features) to (n, num_classes); NaN stays NaN."""
        return softmax(self.compute_logits(embeddings) / self.temperature)


def make_scores(probabilities: Array, labels: Array) -> Array:
    """Sorted scores of the true classes (k, m), `NO_SCORE` where a class has fewer."""
    found = np.full((probabilities.shape[1], MAX_SCORES), NO_SCORE, dtype=np.float32)
    for row, of_class in enumerate(found):
        scores = 1 - probabilities[labels == row, row][:MAX_SCORES]
        of_class[: len(scores)] = np.sort(scores)
    return found[:, (found != NO_SCORE).any(axis=0)]


def find_sets(probabilities: Array, scores: Array, coverage: float) -> Array:
    """Classes (n, k) with scores within ``coverage`` of the calibration cutouts of the class.

    Split conformal prediction (Vovk et al. 2005), per class.
    """
    known = (scores != NO_SCORE).sum(axis=1)
    rank = np.ceil((known + 1) * coverage).astype(int)  # from 1
    reached = np.take_along_axis(scores, np.clip(rank, 1, scores.shape[1])[:, None] - 1, axis=1)
    limit = np.where(rank > known, NO_SCORE, reached[:, 0])
    return np.asarray(1 - probabilities <= limit)


def list_sets(members: Array, class_names: Sequence[str]) -> list[str]:
    """Names of the classes in each row of (n, k), with blanks between them."""
    names = class_names[: members.shape[1]]
    return [" ".join(c for c, inside in zip(names, row, strict=True) if inside) for row in members]
