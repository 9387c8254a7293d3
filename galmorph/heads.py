"""Linear heads: embeddings to calibrated probabilities of named classes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from galmorph.tables.columns import probability_name

if TYPE_CHECKING:
    from galmorph.typicality import Typicality

__all__ = ["LinearHead", "make_class_name", "softmax"]


def make_class_name(text: str) -> str:
    """Letters, digits and underscores, as heads and column names need them.

    Examples
    --------
    >>> make_class_name(" edge-on disk")
    'edge_on_disk'
    """
    return re.sub(r"\W+", "_", text.strip())


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Probabilities along the last axis; rows sum to 1."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    result: npt.NDArray[np.float32] = (
        exponentials / exponentials.sum(axis=-1, keepdims=True)
    ).astype(np.float32)
    return result


@dataclass(frozen=True)
class LinearHead:
    """A linear probe on a frozen encoder, with temperature calibration.

    Attributes
    ----------
    name : str
        As in ``--head``.
    class_names : tuple of str
        In the order of the rows of ``weight``; letters, digits and underscores, which differ also
        as the columns that `probability_name` makes of them.
    weight : ndarray of float32, shape (num_classes, num_features)
    bias : ndarray of float32, shape (num_classes,)
    temperature : float
        Divides the logits (Guo et al. 2017, ICML).
    crop : float, "auto" or None
        Field of view that this head was trained on; None for the encoder's own, or for one in
        arcseconds, which ``notes`` hold.
    notes : mapping
        Training data, protocol and figures.
    typicality : Typicality or None
        What its own training data look like to the encoder, in this field of view; None where
        that of the model stands for it.
    """

    name: str
    class_names: tuple[str, ...]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    temperature: float = 1.0
    crop: float | Literal["auto"] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    typicality: Typicality | None = None

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
        if self.weight.shape[:1] != (k,) or self.bias.shape != (k,):
            raise ValueError(f"{k} classes but weight {self.weight.shape}, bias {self.bias.shape}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")

    def compute_sha256(self) -> str:
        """What tells this head from another one of the same name, in 16 hexadecimal digits."""
        arrays = {"weight": self.weight, "bias": self.bias}
        if self.typicality is not None:
            arrays |= self.typicality.to_tensors()
        digest = hashlib.sha256(repr((self.class_names, self.temperature)).encode())
        for name, array in sorted(arrays.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def compute_logits(self, embeddings: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Linear map before the temperature, (n, num_features) to (n, num_classes)."""
        logits: npt.NDArray[np.float32] = embeddings @ self.weight.T + self.bias
        return logits

    def compute_probabilities(self, embeddings: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities.

        Parameters
        ----------
        embeddings : ndarray, shape (n, num_features)
            Rows of NaN stay NaN.

        Returns
        -------
        ndarray of float32, shape (n, num_classes)
            Rows sum to 1.
        """
        return softmax(self.compute_logits(embeddings) / self.temperature)
