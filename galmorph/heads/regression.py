"""Regression heads: numbers, each with the error that cross-validation found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from galmorph.heads.base import Head, add_hidden
from galmorph.quantities import Array
from galmorph.tables.columns import ColumnSpec


@dataclass(frozen=True)
class Target:
    """One number, and the range in which it lies."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class RegressionHead(Head):
    """Numbers, linear in embedding and hidden units, with their cross-validated RMS `error`."""

    kind: ClassVar[str] = "regression"
    ARRAYS: ClassVar[tuple[str, ...]] = ("weight", "bias", "error", "hidden_weight", "hidden_bias")
    targets: tuple[Target, ...]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    error: npt.NDArray[np.float32]
    hidden_weight: npt.NDArray[np.float32]
    hidden_bias: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        count, width = len(self.targets), sum(self.hidden_weight.shape)
        fits = self.bias.shape == self.error.shape == (count,) and self.weight.shape[1:] == (width,)
        if not fits or len(self.weight) != count or not all(t.low < t.high for t in self.targets):
            raise ValueError(f"{count} numbers but weight {self.weight.shape}: {self.targets}")

    @property
    def num_features(self) -> int:
        return int(self.hidden_weight.shape[1])

    def compute_values(self, embeddings: Array) -> Array:
        """(n, num_features) to (n, num_targets), each within its range."""
        features = add_hidden(embeddings, self.hidden_weight, self.hidden_bias)
        low, high = (np.array([getattr(t, end) for t in self.targets]) for end in ("low", "high"))
        values: Array = np.clip(features @ self.weight.T + self.bias, low, high)
        return values.astype(np.float32)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(target.name for target in self.targets)

    def columns(self) -> tuple[ColumnSpec, ...]:
        kind, error = "src.morph.param", "Root mean square error of {} on its training data"
        texts = (("", kind, "Estimate of {}"), ("_error", f"stat.error;{kind}", error))
        return tuple(
            ColumnSpec(f"{name}{suffix}", "float32", "", ucd, said.format(name))
            for name in self.names
            for suffix, ucd, said in texts
        )

    def fill(self, embeddings: Array) -> dict[str, Any]:
        values = self.compute_values(embeddings)
        filled = {}
        for k, target in enumerate(self.targets):
            filled[target.name] = values[:, k]
            missing = np.isnan(values[:, k])
            filled[f"{target.name}_error"] = np.where(missing, np.nan, self.error[k])
        return filled

    def describe(self) -> dict[str, Any]:
        return {"targets": [asdict(target) for target in self.targets]}

    @classmethod
    def restore(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"targets": tuple(Target(**t) for t in values["targets"])}
