"""Shares heads: what people would say of a galaxy, and the class that it counts as."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from galmorph.heads.linear import LinearHead, find_sets, list_sets, softmax
from galmorph.quantities import Array
from galmorph.tables.columns import ColumnSpec, probability_name

MOST = 0.6  # share from which the last class is the label


@dataclass(frozen=True, kw_only=True)
class SharesHead(LinearHead):
    """Shares of people's answers by softmax; that of the last class, no galaxy, by a logistic.

    It is the label where most people say so; else a linear map of its own chooses the label.
    """

    kind: ClassVar[str] = "shares"
    ARRAYS: ClassVar[tuple[str, ...]] = (*LinearHead.ARRAYS, "label_weight", "label_bias")
    label_weight: npt.NDArray[np.float32]
    label_bias: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = (len(self.class_names) - 1, self.num_features)
        if self.label_weight.shape != expected or self.label_bias.shape != expected[:1]:
            raise ValueError(f"labels by {self.label_weight.shape}, not {expected}")

    def compute_probabilities(self, embeddings: Array) -> Array:
        """Expected shares, (n, num_features) to (n, num_classes); rows sum to 1."""
        logits = self.compute_logits(embeddings)
        none = 0.5 + 0.5 * np.tanh(logits[:, -1:] / 2)
        galaxies = softmax(logits[:, :-1] / self.temperature) * (1 - none)
        return np.concatenate([galaxies, none], axis=1).astype(np.float32)

    def choose(self, embeddings: Array) -> Array:
        galaxies = (embeddings @ self.label_weight.T + self.label_bias).argmax(axis=1)
        last = len(self.class_names) - 1
        none = self.compute_probabilities(embeddings)[:, -1] >= MOST
        return np.where(none, last, galaxies)

    def find_sets(self, embeddings: Array, coverage: float) -> list[str] | None:
        """Classes of galaxies, one of which has the most votes so often; or the last class."""
        if self.scores is None:
            return None
        shares = softmax(self.compute_logits(embeddings)[:, :-1] / self.temperature)
        texts = list_sets(find_sets(shares, self.scores[:-1], coverage), self.class_names)
        none = self.choose(embeddings) == len(self.class_names) - 1
        return [self.class_names[-1] if n else t for n, t in zip(none, texts, strict=True)]

    def columns(self) -> tuple[ColumnSpec, ...]:
        texts = {
            "label": "Class by the rules of Galaxy Zoo 2's clean samples, or artifact; empty where "
            "the cutout could not be classified",
            "confidence": "Largest of the shares: how far people are expected to agree",
        }
        texts |= {probability_name(c): f"Share of people expected to say {c}" for c in self.names}
        return tuple(replace(spec, description=texts[spec.name]) for spec in super().columns())
