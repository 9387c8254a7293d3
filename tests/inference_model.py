"""A model with random weights, small and quick enough for every test."""

from __future__ import annotations

import numpy as np
import torch

from galmorph.encoders.registry import create_encoder
from galmorph.heads import LinearHead
from galmorph.model import Model
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.typicality import fit_typicality

CLASSES = ("round", "edge_on", "spiral")


def make_model(architecture: str = "fused_fast", *, seed: int = 0) -> Model:
    """Random weights; batch normalizations that do something; a head and a typicality."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    encoder = create_encoder(architecture).eval().requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.1)
    width = int(encoder.num_features)
    head = LinearHead(
        "test",
        CLASSES,
        rng.normal(0, 0.2, (3, width)).astype(np.float32),
        rng.normal(0, 0.1, 3).astype(np.float32),
        temperature=1.5,
    )
    return Model(
        architecture,
        architecture,
        encoder,
        Preprocessing(crop=0.5, mean=(0.1, 0.2, 0.3), std=(0.2, 0.25, 0.3)),
        heads={"test": head},
        typicality=fit_typicality(
            rng.normal(size=(60, width)).astype(np.float32), num_components=8, num_references=20
        ),
        provenance={"sha256": "0" * 64, "training": "none"},
    )
