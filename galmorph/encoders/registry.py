"""Encoders by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from galmorph.encoders.fused import FusedEncoder, FusedFast, Wei2022
from galmorph.errors import UnknownModelError

__all__ = ["create_encoder", "list_encoders"]

_ENCODERS: dict[str, Callable[[], FusedEncoder]] = {"wei2022": Wei2022, "fused_fast": FusedFast}


def list_encoders() -> list[str]:
    """Names of the architectures that galmorph defines itself."""
    return sorted(_ENCODERS)


def create_encoder(name: str) -> nn.Module:
    """Make an encoder with random weights.

    Raises
    ------
    UnknownModelError
        galmorph has no architecture of that name.
    """
    if name not in _ENCODERS:
        raise UnknownModelError(
            f"no architecture {name!r}; galmorph defines {', '.join(list_encoders())}"
        )
    return _ENCODERS[name]()
