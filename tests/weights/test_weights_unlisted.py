"""Encoders of the Hub that the manifest does not list."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hub_server import HubServer
from weights_samples import make_weights

from galmorph.errors import (
    CheckpointError,
    DownloadError,
    GalmorphWarning,
    OfflineError,
    UnknownModelError,
)
from galmorph.weights.locate import WeightsFile, copy_to_folder, locate_weights, verify_local
from galmorph.weights.manifest import Manifest
from galmorph.weights.verify import write_sidecar

CONFIG: dict[str, Any] = {
    "architecture": "convnext_nano",
    "num_features": 640,
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}

pytestmark = pytest.mark.filterwarnings("ignore:.* is pinned:galmorph.errors.GalmorphWarning")


def locate(name: str, *, offline: bool = False) -> WeightsFile:
    with patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"} if offline else {}):
        return locate_weights(name, manifest=Manifest(()))


def publish(hub: HubServer, repo_id: str, **files: bytes) -> str:
    named = {name.replace("__", "."): content for name, content in files.items()}
    return hub.add_repo(repo_id, {"config.json": json.dumps(CONFIG).encode(), **named})


@pytest.mark.parametrize("prefix", ["hf_hub:", "hf-hub:"])
def test_an_encoder_is_described_by_its_own_config(hub: HubServer, prefix: str) -> None:
    commit = publish(hub, "others/Some-Encoder", model__safetensors=make_weights())
    found = locate(f"{prefix}others/Some-Encoder")
    entry = found.entry
    assert entry is not None
    assert (entry.name, entry.architecture, entry.embedding_width) == (
        "some-encoder",
        "convnext_nano",
        640,
    )
    assert entry.input.img_size == 224
    assert entry.input.mean == (0.485, 0.456, 0.406)
    assert not entry.pinned
    assert found.revision == entry.revision == commit
    assert found.path.read_bytes() == make_weights()


def test_zoobots_mistaken_normalization_is_not_believed(hub: HubServer) -> None:
    publish(hub, "someone/zoobot-encoder-new", model__safetensors=make_weights())
    entry = locate("hf_hub:someone/zoobot-encoder-new").entry
    assert entry is not None
    assert (entry.input.mean, entry.input.std) == ((0.0,) * 3, (1.0,) * 3)


def test_it_is_used_again_offline(hub: HubServer) -> None:
    publish(hub, "others/encoder", model__safetensors=make_weights())
    first = locate("hf_hub:others/encoder")
    asked = len(hub.seen)
    assert locate("hf_hub:others/encoder", offline=True).path == first.path
    assert len(hub.seen) == asked
    with pytest.raises(OfflineError, match=r"config\.json of others/unseen"):
        locate("hf_hub:others/unseen", offline=True)


def test_a_revision_can_be_asked_for(hub: HubServer) -> None:
    old = publish(hub, "others/encoder", model__safetensors=make_weights(1))
    hub.repos["others/encoder"].commit({"model.safetensors": make_weights(2)})
    assert locate(f"hf_hub:others/encoder@{old}").path.read_bytes() == make_weights(1)
    assert locate("hf_hub:others/encoder").path.read_bytes() == make_weights(2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``GALMORPH_WEIGHTS_DIR``, empty."""
    monkeypatch.setenv("GALMORPH_WEIGHTS_DIR", str(tmp_path / "to"))
    return tmp_path / "to"


def test_a_copy_is_of_one_organisation_and_commit(hub: HubServer, folder: Path) -> None:
    old = publish(hub, "orgA/encoder", model__safetensors=make_weights(1))
    publish(hub, "orgB/Encoder", model__safetensors=make_weights(2))
    copy = copy_to_folder(locate("hf_hub:orgA/encoder"), folder)
    assert copy.name == f"orgA--encoder--{old}.safetensors"
    assert locate("hf_hub:orgA/encoder").path == copy
    assert locate("hf_hub:orgB/Encoder").path.read_bytes() == make_weights(2)
    hub.repos["orgA/encoder"].commit({"model.safetensors": make_weights(3)})
    assert locate(f"hf_hub:orgA/encoder@{old}").path == copy
    (folder.parent / "hf" / "hub" / "models--orgA--encoder" / "refs" / "main").unlink()
    assert locate("hf_hub:orgA/encoder").path.read_bytes() == make_weights(3)


def test_a_copy_serves_offline_without_the_weights_in_the_cache(
    hub: HubServer, folder: Path
) -> None:
    publish(hub, "others/encoder", model__safetensors=make_weights())
    found = locate("hf_hub:others/encoder")
    copy = copy_to_folder(found, folder)
    found.path.unlink()
    again = locate("hf_hub:others/encoder", offline=True)
    assert (again.path, again.source, again.sha256) == (copy, "folder", found.sha256)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"), "is not the published file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is not a whole safetensors"),
        (lambda path: Path(f"{path}.sha256").unlink(), "has no .*safetensors.sha256 beside it"),
    ],
)
def test_a_damaged_copy_is_refused(hub: HubServer, folder: Path, damage: Any, message: str) -> None:
    publish(hub, "others/encoder", model__safetensors=make_weights())
    found = locate("hf_hub:others/encoder")
    damage(copy_to_folder(found, folder))
    with pytest.warns(GalmorphWarning, match=f"refused: .*{message}"):
        assert locate("hf_hub:others/encoder").source == "cache"
    assert found.entry is not None
    refused, good = [error for _, error in verify_local(found.entry)]
    assert re.search(message, str(refused))
    assert good is None


def test_a_pickle_with_a_file_beside_it_is_refused_all_the_same(
    hub: HubServer, folder: Path
) -> None:
    publish(hub, "others/encoder", model__safetensors=make_weights())
    copy = copy_to_folder(locate("hf_hub:others/encoder"), folder)
    copy.write_bytes(b"\x80\x02}q\x00." * 9)
    write_sidecar(copy, hashlib.sha256(copy.read_bytes()).hexdigest())
    with pytest.warns(GalmorphWarning, match="is a pickled checkpoint, not safetensors"):
        assert locate("hf_hub:others/encoder").source == "cache"


def test_a_pickle_serves_where_there_is_nothing_better(hub: HubServer, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.bin"
    torch.save({"weight": torch.ones(2)}, path)
    publish(hub, "others/encoder", pytorch_model__bin=path.read_bytes())
    assert locate("hf_hub:others/encoder").path.name == "pytorch_model.bin"


@pytest.mark.parametrize(
    "config", [b"[]", b"{", b"{}", b'{"architecture": "x", "num_features": 1}']
)
def test_a_repository_that_is_no_encoder_is_named(hub: HubServer, config: bytes) -> None:
    hub.add_repo("others/text", {"config.json": config, "model.safetensors": make_weights()})
    with pytest.raises(CheckpointError, match="others/text: is not an encoder in timm's layout"):
        locate("hf_hub:others/text")


def test_what_is_not_there_is_named(hub: HubServer) -> None:
    with pytest.raises(DownloadError, match=r"config\.json of others/none .*no such repository"):
        locate("hf_hub:others/none")
    publish(hub, "others/empty")
    with pytest.raises(DownloadError, match=r"pytorch_model\.bin of others/empty .*no such file"):
        locate("hf_hub:others/empty")


def test_a_name_that_is_no_repository_is_unknown(hub: HubServer) -> None:
    with pytest.raises(UnknownModelError, match="no model 'hf_hub:nonsense'"):
        locate("hf_hub:nonsense")
