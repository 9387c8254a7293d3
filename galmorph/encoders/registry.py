"""Encoders by name."""

import os
from collections.abc import Callable

import torch
from torch import nn

from galmorph.encoders.fused import FusedFast, Wei2022
from galmorph.errors import UnknownModelError

_ENCODERS: dict[str, Callable[[], nn.Module]] = {
    # A network from (n, in_chans, img_size, img_size), normalized, to (n, num_features).
    "fused_fast": FusedFast,
    "wei2022": Wei2022,
}

# The threads of OpenMP do not live on in a forked child, which would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def list_encoders() -> list[str]:
    """Names of the architectures that galmorph defines itself."""
    return sorted(_ENCODERS)


def create_encoder(name: str) -> nn.Module:
    """Make an encoder with random weights."""
    if name not in _ENCODERS:
        raise UnknownModelError(
            f"no architecture {name!r:.60}; galmorph defines {', '.join(list_encoders())}"
        )
    return _ENCODERS[name]()
