"""Regression heads: numbers, each with the error that cross-validation found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from galmorph.heads.base import Head
from galmorph.heads.hidden import add_hidden
from galmorph.tables.columns import ColumnSpec


@dataclass(frozen=True)
class Target:
    """One number, and the range in which it lies."""

    name: str
    low: float
    high: float


_ARRAYS = ("weight", "bias", "error", "hidden_weight", "hidden_bias")


@dataclass(frozen=True)
class RegressionHead(Head):
    """Numbers, linear in embedding and hidden units, with their cross-validated RMS `error`."""

    kind: ClassVar[str] = "regression"
    targets: tuple[Target, ...]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    error: npt.NDArray[np.float32]
    hidden_weight: npt.NDArray[np.float32]
    hidden_bias: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.targets)
        width = sum(self.hidden_weight.shape)
        fits = self.weight.shape == (count, width) and self.bias.shape == self.error.shape
        if (
            not fits
            or self.error.shape != (count,)
            or not all(t.low < t.high for t in self.targets)
        ):
            raise ValueError(f"{count} numbers but weight {self.weight.shape}: {self.targets}")

    @property
    def num_features(self) -> int:
        """Length of the embeddings that it takes."""
        return int(self.hidden_weight.shape[1])

    def compute_values(self, embeddings: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, num_features) to (n, num_targets), each within its range."""
        features = add_hidden(embeddings, self.hidden_weight, self.hidden_bias)
        low, high = (np.array([getattr(t, end) for t in self.targets]) for end in ("low", "high"))
        values: npt.NDArray[Any] = np.clip(features @ self.weight.T + self.bias, low, high)
        return values.astype(np.float32)

    @property
    def names(self) -> tuple[str, ...]:
        """Of what it tells."""
        return tuple(target.name for target in self.targets)

    def columns(self) -> tuple[ColumnSpec, ...]:
        """Each number with its error."""
        texts = (
            ("", "Estimate of {}"),
            ("_error", "Root mean square error of {} on its training data"),
        )
        return tuple(
            ColumnSpec(
                f"{target.name}{suffix}",
                "float32",
                ucd="stat.error;src.morph.param" if suffix else "src.morph.param",
                description=text.format(target.name),
            )
            for target in self.targets
            for suffix, text in texts
        )

    def fill(self, embeddings: npt.NDArray[Any]) -> dict[str, Any]:
        """Values of these columns."""
        values = self.compute_values(embeddings)
        filled = {}
        for k, target in enumerate(self.targets):
            filled[target.name] = values[:, k]
            missing = np.isnan(values[:, k])
            filled[f"{target.name}_error"] = np.where(missing, np.nan, self.error[k])
        return filled

    def describe(self) -> dict[str, Any]:
        """Names and ranges."""
        return {"targets": [asdict(target) for target in self.targets]}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Fitted numbers."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_parts(
        cls, values: Mapping[str, Any], tensors: Mapping[str, Any], **common: Any
    ) -> Self:
        """Rebuild from the parts in a file."""
        arrays: dict[str, Any] = {k: np.asarray(tensors[k], dtype=np.float32) for k in _ARRAYS}
        return cls(targets=tuple(Target(**t) for t in values["targets"]), **arrays, **common)
