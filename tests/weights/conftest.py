"""A loopback Hub, an empty cache and a small weights file: no network, no real home."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from hub_server import HubServer, serve_hub  # noqa: E402
from manifest_file import write_manifest  # noqa: E402
from weights_samples import REPO_ID, make_entry, make_weights  # noqa: E402

from galmorph.weights.manifest import Manifest, ManifestEntry  # noqa: E402

VARIABLES = (
    "GALMORPH_WEIGHTS_DIR",
    "HF_ENDPOINT",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HUGGINGFACE_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN",
    "TRANSFORMERS_OFFLINE",
)


def reset_sessions() -> None:
    """Let huggingface_hub forget its connections, proxies and offline state."""
    from huggingface_hub import utils

    for name in ("close_session", "reset_sessions"):  # since 1.0, before 1.0
        reset = getattr(utils, name, None)
        if reset is not None:
            reset()


@pytest.fixture(scope="session")
def weights_bytes() -> bytes:
    return make_weights()


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HF_HOME in a temporary folder, nothing else set, short delays; returns HF_HOME."""
    from huggingface_hub import constants, file_download, utils

    import galmorph.weights.hub as hub_module

    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    home = tmp_path / "hf"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Read once, when huggingface_hub is imported.
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.7)
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(hub_module, "RETRY_DELAYS_S", (0.01, 0.02))
    reset_sessions()
    utils.disable_progress_bars()
    return home


@pytest.fixture
def hub(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A running loopback Hub that ``HF_ENDPOINT`` points to."""
    from huggingface_hub import constants

    with serve_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        # huggingface_hub before 2.0 reads an answer to an upload by the address it had at import.
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


@pytest.fixture
def published(hub: HubServer, weights_bytes: bytes) -> ManifestEntry:
    """An entry whose file is on the loopback Hub."""
    commit = hub.add_repo(REPO_ID, {"demo.safetensors": weights_bytes, "README.md": b"# demo\n"})
    return make_entry(weights_bytes, revision=commit)


@pytest.fixture
def use_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make entries the package's own manifest for one test."""
    from galmorph.weights import manifest as module

    def use(*entries: ManifestEntry) -> Path:
        path = tmp_path / "weights_manifest.json"
        write_manifest(Manifest(entries), path)
        monkeypatch.setattr(module, "manifest_path", lambda: path)
        return path

    return use
