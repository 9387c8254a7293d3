"""What every head can do: its columns, filling them, and its parts in a file."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np

from galmorph.quantities import Array
from galmorph.tables.columns import ColumnSpec
from galmorph.typicality import Typicality


def make_class_name(text: str) -> str:
    """Letters, digits and underscores, as heads and column names need them.

    >>> make_class_name(" edge-on disk")
    'edge_on_disk'
    """
    return re.sub(r"\W+", "_", text.strip())


def add_hidden(embeddings: Array, weight: Array, bias: Array) -> Array:
    """(n, d) to (n, d + h): sigmoid units of ``weight`` (h, d) stand after the embedding."""
    units = 0.5 + 0.5 * np.tanh(0.5 * (embeddings @ weight.T + bias))
    return np.concatenate([embeddings, units.astype(embeddings.dtype)], axis=1)


@dataclass(frozen=True)
class Head(ABC):
    """Embeddings to columns; `crop` and `typicality` are None where those of the model hold."""

    kind: ClassVar[str]  # the word by which files name the kind
    ARRAYS: ClassVar[tuple[str, ...]]  # fields that are fitted numbers
    OPTIONAL: ClassVar[tuple[str, ...]] = ()  # those of them that may be None
    name: str
    crop: float | Literal["auto"] | None = field(default=None, kw_only=True)
    notes: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    typicality: Typicality | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def num_features(self) -> int:
        """Length of the embeddings that it takes."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of what it tells: classes, answers or numbers."""

    @abstractmethod
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns that it fills, in order; the first is ``label`` where it has one."""

    @abstractmethod
    def fill(self, embeddings: Array) -> dict[str, Any]:
        """Values of its columns, (n, num_features) to n each; finite for finite rows."""

    def find_sets(self, embeddings: Array, coverage: float) -> list[str] | None:
        """Names of which one is the truth so often, as text; None where that is not known."""
        return None

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain values of its kind: for the file, and for the provenance of a result."""

    @classmethod
    @abstractmethod
    def restore(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of its kind, from what `describe` gave."""

    @classmethod
    def from_parts(
        cls, values: Mapping[str, Any], tensors: Mapping[str, Any], **common: Any
    ) -> Self:
        """Rebuild from `to_dict` and `to_tensors`; ``common`` are the fields of every head."""
        names = [name for name in cls.ARRAYS if name in tensors or name not in cls.OPTIONAL]
        arrays: Any = {name: np.asarray(tensors[name], dtype=np.float32) for name in names}
        return cls(**cls.restore(values), **arrays, **common)

    def to_dict(self) -> dict[str, Any]:
        """Plain values to store beside the tensors."""
        values = {"kind": self.kind, **self.describe()}
        values |= {"crop": self.crop, "notes": dict(self.notes)}
        if self.typicality is not None:
            values["typicality"] = self.typicality.to_dict()
        return values

    def to_tensors(self) -> dict[str, Array]:
        """Arrays to store."""
        own = {} if self.typicality is None else self.typicality.to_tensors()
        found = {name: getattr(self, name) for name in self.ARRAYS}
        return {**{name: array for name, array in found.items() if array is not None}, **own}

    def compute_sha256(self) -> str:
        """What tells this head from another one of the same name, in 16 hexadecimal digits."""
        described = json.dumps([self.kind, self.describe()], sort_keys=True)
        digest = hashlib.sha256(described.encode())
        for name, array in sorted(self.to_tensors().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]
