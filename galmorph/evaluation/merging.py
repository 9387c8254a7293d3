"""Coarser classes: several joined to one, in labels and in probabilities."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from galmorph.quantities import Array


@dataclass(frozen=True)
class ClassMerge:
    """Which classes become one, by the name of each joined class.

    >>> ClassMerge({"smooth": ("round", "cigar")}).rename(("round", "spiral", "cigar"))
    ('smooth', 'spiral')
    """

    parts: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        members = self.find_unknown(())
        twice = sorted({m for m in members if members.count(m) > 1})
        if twice:
            raise ValueError(f"classes {twice} are merged twice")

    def find_unknown(self, class_names: Iterable[str]) -> list[str]:
        """Members of joined classes that are not among ``class_names``."""
        there = set(class_names)
        return [m for names in self.parts.values() for m in names if m not in there]

    def name_of(self, class_name: str) -> str:
        """The class that ``class_name`` becomes: its own name where it is not merged."""
        joined = (name for name, members in self.parts.items() if class_name in members)
        return next(joined, class_name)

    def rename(self, class_names: Sequence[str]) -> tuple[str, ...]:
        """Class names after the merge, in order of first appearance."""
        return tuple(dict.fromkeys(self.name_of(name) for name in class_names))

    def merge_probabilities(self, probabilities: Array, class_names: Sequence[str]) -> Array:
        """Add up the probabilities of the classes that become one, (n, k) to (n, merged)."""
        merged = self.rename(class_names)
        matrix = [[self.name_of(name) == joined for joined in merged] for name in class_names]
        return np.asarray(probabilities @ np.array(matrix, dtype=probabilities.dtype))


def parse_merges(texts: Iterable[str], *, clean: Callable[[str], str] = str.strip) -> ClassMerge:
    """Read merges as they are typed: ``smooth=round+in_between+cigar``; one may come in parts."""
    parts: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, members = text.partition("=")
        names = tuple(clean(m) for m in members.split("+"))
        if not equals or not clean(name) or not all(names):
            raise ValueError(f"a merge reads NEW=OLD+OLD, not {text!r}")
        parts[clean(name)] = parts.get(clean(name), ()) + names
    return ClassMerge(parts)
