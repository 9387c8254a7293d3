"""EMBEDDING -> SHARES: the kinds of heads, which share one protocol (`galmorph.heads.base`)."""

from collections.abc import Mapping
from typing import Any

from galmorph.heads.base import Head, make_class_name
from galmorph.heads.linear import LinearHead, softmax
from galmorph.heads.regression import RegressionHead
from galmorph.heads.shares import SharesHead
from galmorph.heads.votes import VoteHead
from galmorph.typicality import Typicality

__all__ = ["KINDS", "Head", "LinearHead", "head_from_parts", "make_class_name", "softmax"]

KINDS: dict[str, type[Head]] = {
    kind.kind: kind for kind in (LinearHead, SharesHead, VoteHead, RegressionHead)
}


def head_from_parts(name: str, values: Mapping[str, Any], tensors: Mapping[str, Any]) -> Head:
    """Rebuild a head from what its `to_dict` and `to_tensors` gave."""
    kind = values.get("kind", "linear")
    if kind not in KINDS:
        raise ValueError(f"heads are of the kinds {', '.join(KINDS)}, not {kind!r:.60}")
    typical = values.get("typicality")
    return KINDS[kind].from_parts(
        values,
        tensors,
        name=name,
        crop=values.get("crop"),
        notes=values.get("notes", {}),
        typicality=None if typical is None else Typicality.from_parts(typical, tensors),
    )
