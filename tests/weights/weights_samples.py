"""A small weights file and its manifest entry."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from galmorph.weights.manifest import ExpectedInput, FieldOfView, ManifestEntry

REPO_ID = "galaxies/demo"


def make_weights(seed: int = 0) -> bytes:
    """A valid safetensors file of about 200 kB, as galmorph's are laid out."""
    from safetensors.numpy import save

    values = np.random.default_rng(seed).standard_normal((200, 256)).astype(np.float32)
    return save({"encoder.weight": values}, metadata={"galmorph": "{}"})


def make_entry(content: bytes, **changes: object) -> ManifestEntry:
    """A manifest entry for a file's content, on the loopback Hub."""
    fov = FieldOfView(0.42, "fraction")
    expected = ExpectedInput(
        ("red", "green", "blue"), fov, 84, "bilinear", "rendered", (0.0,) * 3, (1.0,) * 3
    )
    entry = ManifestEntry(
        name="demo",
        kind="galmorph",
        architecture="fused_fast",
        description="For tests.",
        licence="BSD-3-Clause",
        filename="demo.safetensors",
        pinned=True,
        input=expected,
        embedding_width=512,
        training_data="none",
        recipe="none",
        repo_id=REPO_ID,
        revision="0" * 40,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
    return dataclasses.replace(entry, **changes)
