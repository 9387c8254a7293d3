"""EMBEDDING -> SHARES: heads of several kinds, which share one protocol (`galmorph.heads.base`)."""

from galmorph.heads.base import Head, make_class_name
from galmorph.heads.kinds import KINDS, head_from_parts
from galmorph.heads.linear import LinearHead, softmax

__all__ = ["KINDS", "Head", "LinearHead", "head_from_parts", "make_class_name", "softmax"]
