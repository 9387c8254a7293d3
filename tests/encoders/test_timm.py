"""timm's encoders in galmorph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from galmorph.errors import CheckpointError
from galmorph.pipeline import _read_timm
from galmorph.weights.manifest import ManifestEntry, load_manifest

timm = pytest.importorskip("timm")

ARCHITECTURE = "test_convnext"
"""timm's own network for tests: 0.3 million parameters."""


def write_timm_weights(path: Path) -> torch.nn.Module:
    from safetensors.torch import save_file

    torch.manual_seed(3)
    network = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=7).eval()
    save_file(network.state_dict(), path)
    return network


def test_a_timm_encoder_embeds_as_timm_does(tmp_path: Path) -> None:
    network = write_timm_weights(tmp_path / "zoobot.safetensors")
    entry = _zoobot_entry()
    model = _read_timm(tmp_path / "zoobot.safetensors", replace(entry, architecture=ARCHITECTURE))
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        want = network.forward_head(network.forward_features(x), pre_logits=True)
        torch.testing.assert_close(model.encoder(x), want)
    assert model.preprocessing.mean == (0, 0, 0)
    assert model.preprocessing.std == (1, 1, 1)
    assert np.isclose(model.preprocessing.crop, entry.input.field_of_view.value)


def _zoobot_entry() -> ManifestEntry:
    return next(entry for entry in load_manifest().models if entry.kind == "timm")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    write_timm_weights(tmp_path / "zoobot.safetensors")
    entry = replace(_zoobot_entry(), architecture="test_vit")
    with pytest.raises(CheckpointError, match="do not fit timm's 'test_vit'"):
        _read_timm(tmp_path / "zoobot.safetensors", entry)


def test_an_unknown_network_is_named(tmp_path: Path) -> None:
    write_timm_weights(tmp_path / "zoobot.safetensors")
    entry = replace(_zoobot_entry(), architecture="no_such_network")
    with pytest.raises(CheckpointError, match="no_such_network"):
        _read_timm(tmp_path / "zoobot.safetensors", entry)
