"""From the Hub to a result: the released weights, and an encoder in timm's layout."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer

import galmorph
from galmorph import pipeline as _api
from galmorph.weights.locate import bundled_path, locate_weights
from galmorph.weights.manifest import Manifest, load_manifest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_released_weights_come_from_the_hub_when_they_are_not_bundled(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = load_manifest().get("fused_fast")
    file = bundled_path(entry)
    assert file is not None
    want = galmorph.classify(EXAMPLES / "spiral_1.jpg", device="cpu")
    commit = hub.add_repo("galaxies/fused-fast", {entry.filename: file.read_bytes()})
    published = dataclasses.replace(
        entry, repo_id="galaxies/fused-fast", revision=commit, bundled=None
    )
    manifest = Manifest((published,), published.name)
    monkeypatch.setattr(_api, "load_manifest", lambda: manifest)
    monkeypatch.setattr(
        _api, "locate_weights", lambda name: locate_weights(name, manifest=manifest)
    )
    got = galmorph.classify(EXAMPLES / "spiral_1.jpg", device="cpu")
    assert got["label"][0] == want["label"][0] == "spiral"
    np.testing.assert_array_equal(got["confidence"], want["confidence"])
    assert got.meta["model_revision"] == commit
    assert got.meta["model_sha256"] == entry.sha256


@pytest.mark.filterwarnings("ignore:.* is pinned:galmorph.errors.GalmorphWarning")
def test_any_timm_encoder_of_the_hub_embeds(hub: HubServer, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(5)
    network = timm.create_model("test_convnext", pretrained=False, num_classes=0).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "test_convnext",
        "num_features": network.num_features,
        "pretrained_cfg": {"input_size": [3, 96, 96], "interpolation": "bilinear"},
    }
    hub.add_repo(
        "others/zoobot-encoder-tiny",
        {
            "config.json": json.dumps(config).encode(),
            "model.safetensors": (tmp_path / "model.safetensors").read_bytes(),
        },
    )
    name = "hf_hub:others/zoobot-encoder-tiny"
    vectors = galmorph.embed(
        EXAMPLES / "spiral_1.jpg", model=name, device="cpu", precision="float32", crop=1.0
    )
    cutout = galmorph.read_cutout(EXAMPLES / "spiral_1.jpg")
    model = galmorph.load_model(name)
    pixels = model.preprocessing.prepare(cutout, field=_api.FieldOptions(crop=1.0)).pixels
    with torch.no_grad():  # on [0, 1], with no mean and no standard deviation
        want = network(torch.from_numpy(pixels[None].copy()).float() / 255).numpy()
    assert pixels.shape == (3, 96, 96)
    np.testing.assert_allclose(vectors, want, atol=1e-4)


def test_a_pickle_of_a_timm_encoder_embeds_by_its_path(
    clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm")
    torch = pytest.importorskip("torch")
    nano = load_manifest().get("zoobot_convnext_nano")
    entry = dataclasses.replace(nano, architecture="test_convnext")
    manifest = Manifest((entry,))
    monkeypatch.setattr("galmorph.weights.locate.load_manifest", lambda: manifest)
    network = timm.create_model("test_convnext", pretrained=False)
    path = tmp_path / entry.local_name
    torch.save(network.state_dict(), path)
    model = galmorph.load_model(path)
    assert (model.name, model.num_features) == (entry.name, network.num_features)
    assert model.provenance["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
