"""Our encoders in timm, and timm's encoders in galmorph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from galmorph.encoders.registry import create_encoder
from galmorph.errors import CheckpointError
from galmorph.pipeline import _read_timm, load_model
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


@pytest.mark.parametrize("name", ["wei2022", "fused_fast"])
def test_our_encoders_are_timm_models(name: str) -> None:
    import galmorph.timm  # noqa: F401

    model = timm.create_model(f"galmorph_{name}", num_classes=4).eval()
    x = torch.randn(2, 3, 84, 84, generator=torch.Generator().manual_seed(1))
    assert model(x).shape == (2, 4)
    model.reset_classifier(0)
    assert model(x).shape == (2, model.num_features) == (2, 512)
    torch.testing.assert_close(model.forward_features(x), model.encoder(x))
    assert timm.data.resolve_model_data_config(model)["input_size"] == (3, 84, 84)
    assert model.encoder.state_dict().keys() == create_encoder(name).state_dict().keys()


def test_released_weights_are_a_copy_that_may_be_trained() -> None:
    import galmorph.timm  # noqa: F401

    trained = timm.create_model("galmorph_fused_fast", pretrained=True)
    released = load_model("fused_fast").encoder
    assert all(p.requires_grad for p in trained.parameters())
    assert not any(p.requires_grad for p in released.parameters())
    before = {key: tensor.clone() for key, tensor in released.state_dict().items()}
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.zero_()
    assert all(torch.equal(before[key], t) for key, t in released.state_dict().items())


def test_options_that_would_do_nothing_are_refused() -> None:
    import galmorph.timm  # noqa: F401

    with pytest.raises(TypeError, match="galmorph_fused_fast has no in_chans=1; it takes"):
        timm.create_model("galmorph_fused_fast", in_chans=1)
    with pytest.raises(TypeError, match=r"has no drop_rate=0\.5, img_size=224"):
        timm.create_model("galmorph_fused_fast", img_size=224, drop_rate=0.5)
    as_scripts_pass = {"in_chans": 3, "drop_rate": 0.0, "drop_path_rate": None, "cache_dir": "x"}
    assert timm.create_model("galmorph_fused_fast", **as_scripts_pass).num_classes == 0


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
