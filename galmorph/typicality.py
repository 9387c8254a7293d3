"""How unlike an embedding is to what encoder and heads have been checked on, from 0 to 100."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from galmorph.errors import TrainingError
from galmorph.quantities import Array

ATYPICAL_PERCENTILE = 99.0  # rows above this percentile of held-out training data are flagged
NUM_QUANTILES = 201
ENOUGH_ROWS = 400  # embeddings from which a head learns by itself what is typical
MIN_ROWS = 40  # embeddings without which nothing can be said of what is typical
ROWS_PER_COMPONENT = 4  # with fewer they fit the rows they were learnt from alone
FLAT = 1e-6  # components whose variance is less than this part of the largest are noise of rounding
TAIL = 95.0  # galaxies that look less like one than this percentage of them do are flagged


@dataclass(frozen=True)
class Doubts:
    """Linear probes of what makes a label doubtful: no galaxy (row 0), or no class for sure."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    quantiles: npt.NDArray[np.float32]  # (2, q): of the logit, of 1 - largest share, of galaxies

    def __post_init__(self) -> None:
        fits = self.weight.shape[:1] == self.bias.shape and self.weight.ndim == 2
        if not fits or len(self.bias) < 3 or len(self.quantiles) != 2:
            raise ValueError(f"no doubts: {self.weight.shape}, {self.bias.shape}")

    def measure(self, embeddings: Array) -> Array:
        """The two numbers of each row, (n, num_features) to (2, n)."""
        logits = embeddings @ self.weight.T + self.bias
        classes = logits[:, 1:] - logits[:, 1:].max(axis=1, keepdims=True)
        return np.stack([logits[:, 0], 1 - 1 / np.exp(classes).sum(axis=1)])

    def rank(self, embeddings: Array) -> Array:
        """The same as percentiles among galaxies."""
        grid = np.linspace(0, 100, self.quantiles.shape[1])
        pairs = zip(self.measure(embeddings), self.quantiles, strict=True)
        return np.stack([np.interp(values, quantiles, grid) for values, quantiles in pairs])


@dataclass(frozen=True)
class Frames:
    """Tells frames that show a galaxy badly: logits of good frames (row 0) and kinds of bad."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.weight.shape[:1] != self.bias.shape or len(self.bias) < 2:
            raise ValueError(f"no frames: {self.weight.shape}, {self.bias.shape}")

    def measure(self, embeddings: Array) -> Array:
        """Logit of a bad frame, (n, num_features) to (n,); above 0 it is one."""
        logits = embeddings @ self.weight.T + self.bias
        return np.asarray(np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0])


@dataclass(frozen=True)
class Typicality:
    """Mean distance to the `neighbours` nearest `references`, in whitened components."""

    mean: npt.NDArray[np.float32]
    components: npt.NDArray[np.float32]
    references: npt.NDArray[np.float32]  # (m, k)
    quantiles: npt.NDArray[np.float32]  # (q,), of the distances of further training embeddings
    neighbours: int = 5
    doubts: Doubts | None = None
    frames: Frames | None = None

    def __post_init__(self) -> None:
        width, k = len(self.mean), self.components.shape[-1]
        fits = self.components.shape == (width, k) and self.references.shape[1:] == (k,)
        flat = self.mean.ndim == self.quantiles.ndim == 1 and len(self.quantiles) > 1
        if not (fits and flat and 0 < self.neighbours < len(self.references)):
            shapes = [a.shape for a in (self.mean, self.components, self.references)]
            raise ValueError(f"no typicality: {shapes}, {self.neighbours} neighbours")

    @cached_property
    def _reference_lengths(self) -> Array:
        return np.asarray((self.references**2).sum(axis=1))

    def compute_distance(self, embeddings: Array) -> Array:
        """Mean distance to the nearest references, (n, num_features) to (n,)."""
        white = (embeddings - self.mean) @ self.components  # (n, k)
        own = (white**2).sum(axis=1)[:, None]
        square = own + self._reference_lengths - 2 * white @ self.references.T  # (n, m)
        nearest = np.partition(square, self.neighbours, axis=1)[:, : self.neighbours]
        return np.asarray(np.sqrt(np.maximum(nearest, 0)).mean(axis=1))

    def compute_atypicality(self, embeddings: Array) -> Array:
        """From 0 to 100, (n, num_features) to (n,); rows of NaN stay NaN.

        The percentile of the distance; with doubts, up to 99 the rank by how unsure the class is.
        """
        grid = np.linspace(0, 100, len(self.quantiles))
        far = np.interp(self.compute_distance(embeddings), self.quantiles, grid)
        if self.doubts is not None:
            strange, unsure = self.doubts.rank(embeddings)
            top = 100 - ATYPICAL_PERCENTILE
            tail = ATYPICAL_PERCENTILE + top * (strange - TAIL) / (100 - TAIL)
            usual = np.where(far > ATYPICAL_PERCENTILE, far, unsure * ATYPICAL_PERCENTILE / 100)
            far = np.where(strange > TAIL, np.maximum(usual, tail), usual)
        return far.astype(np.float32)

    def to_tensors(self) -> dict[str, Array]:
        """Arrays to store, float16 where that loses nothing that matters."""
        parts = {"doubts": self.doubts, "frames": self.frames}
        own = {f"{part}.{k}": a for part, of in parts.items() if of for k, a in vars(of).items()}
        return {
            **{f"typicality.{name}": array for name, array in own.items()},
            "typicality.mean": self.mean,
            "typicality.components": self.components.astype(np.float16),
            "typicality.references": self.references.astype(np.float16),
            "typicality.quantiles": self.quantiles,
        }

    def to_dict(self) -> dict[str, Any]:
        """Settings to store beside the arrays."""
        return {"neighbours": self.neighbours}

    @classmethod
    def from_parts(cls, values: Mapping[str, Any], tensors: Mapping[str, Any]) -> Self:
        """Rebuild from what `to_dict` and `to_tensors` gave."""
        names = ("mean", "components", "references", "quantiles")
        arrays = {
            name: np.asarray(tensors[f"typicality.{name}"], dtype=np.float32) for name in names
        }
        own: dict[str, dict[str, Any]] = {"doubts": {}, "frames": {}}
        for part, found in own.items():
            start = f"typicality.{part}."
            found |= {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        return cls(
            **arrays,
            neighbours=int(values["neighbours"]),
            doubts=Doubts(**own["doubts"]) if own["doubts"] else None,
            frames=Frames(**own["frames"]) if own["frames"] else None,
        )


def fit_typicality(
    embeddings: Array, *, num_components: int = 256, num_references: int = 600, seed: int = 0
) -> Typicality:
    """Learn what training data (n, num_features) look like; one half calibrates the other."""
    if len(embeddings) < MIN_ROWS:
        raise TrainingError(
            f"{len(embeddings)} cutouts are too few to learn what is typical; {MIN_ROWS} are needed"
        )
    order = np.random.default_rng(seed).permutation(len(embeddings))
    learnt, held_out = np.array_split(embeddings[order], 2)
    mean = learnt.mean(axis=0)
    covariance = np.cov((learnt - mean).T.astype(np.float64))
    values, vectors = np.linalg.eigh(covariance)
    num_components = min(num_components, len(learnt) // ROWS_PER_COMPONENT)
    keep = np.argsort(values)[::-1][:num_components]
    keep = keep[values[keep] > FLAT * values[keep[0]]]
    components = (vectors[:, keep] / np.sqrt(np.maximum(values[keep], 1e-12))).astype(np.float32)
    references = ((learnt[:num_references] - mean) @ components).astype(np.float32)
    nothing_yet = np.zeros(NUM_QUANTILES, dtype=np.float32)
    draft = Typicality(mean.astype(np.float32), components, references, nothing_yet)
    distance = draft.compute_distance(held_out)
    quantiles = np.quantile(distance, np.linspace(0, 1, NUM_QUANTILES)).astype(np.float32)
    return replace(draft, quantiles=quantiles)
