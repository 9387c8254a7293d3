"""What a Hub may do, and how galmorph ends: the table of the tests and of docs/notes/hub.md.

Run this file to print the table for the docs.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_server import TOKEN, Fault, HubServer

from galmorph.errors import ChecksumError, DownloadError, OfflineError, WeightsError
from galmorph.weights.manifest import ManifestEntry


@dataclass
class Scene:
    """What a case may change before the weights are asked for."""

    server: HubServer
    entry: ManifestEntry
    home: Path
    monkeypatch: pytest.MonkeyPatch
    warns: bool = False

    def change(self, **fields: object) -> None:
        self.entry = dataclasses.replace(self.entry, **fields)

    def set_env(self, name: str, value: str) -> None:
        self.monkeypatch.setenv(name, value)

    @property
    def repo_folder(self) -> Path:
        return self.home / "hub" / "models--galaxies--demo"


@dataclass(frozen=True)
class HubCase:
    """One row: what happens, and how it ends.

    Parameters
    ----------
    what : str
    prepare : callable
    error : type or None
        None for success.
    says : str
        Part of the error's message.
    """

    what: str
    prepare: Callable[[Scene], None]
    error: type[WeightsError] | None = None
    says: str = ""


def faults(*chosen: Fault) -> Callable[[Scene], None]:
    return lambda scene: scene.server.faults.extend(chosen)


def make_private(scene: Scene) -> None:
    scene.server.repos["galaxies/demo"].private = True


def make_private_with_token(scene: Scene) -> None:
    make_private(scene)
    scene.set_env("HF_TOKEN", TOKEN)


def make_gated(scene: Scene) -> None:
    scene.server.repos["galaxies/demo"].gated = True


def send_bad_token(scene: Scene) -> None:
    scene.set_env("HF_TOKEN", "hf_expired")


def stop_server(scene: Scene) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        scene.set_env("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")


def block_cache(scene: Scene) -> None:
    scene.home.mkdir()
    (scene.home / "hub").write_text("a file where the cache's folder should be")


def go_offline(scene: Scene) -> None:
    scene.set_env("HF_HUB_OFFLINE", "1")


def damage_cache(scene: Scene) -> None:
    path = scene.repo_folder / "snapshots" / str(scene.entry.revision) / scene.entry.filename
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut short")
    scene.warns = True


def damage_cache_offline(scene: Scene) -> None:
    damage_cache(scene)
    go_offline(scene)


def unpublish(scene: Scene) -> None:
    scene.change(repo_id=None, revision=None, bundled="missing.safetensors")


CASES = (
    HubCase("delivers", lambda scene: None),
    HubCase("breaks off twice in the body", faults(Fault("GET", "cut", 70_000, times=2))),
    HubCase(
        "breaks off, then sends the whole file although a part was asked for",
        faults(Fault("GET", "cut", 70_000, times=1), Fault("GET", "whole")),
    ),
    HubCase(
        "breaks off in the body before any new byte, again and again",
        faults(Fault("GET", "cut", 0)),
        DownloadError,
        "broke off again and again",
    ),
    HubCase(
        "closes the connection without an answer, once", faults(Fault("HEAD", "drop", times=1))
    ),
    HubCase(
        "closes the connection without an answer, always",
        faults(Fault("HEAD", "drop")),
        DownloadError,
        "broke off again and again",
    ),
    HubCase("delivers a damaged file, once", faults(Fault("GET", "flip", times=1))),
    HubCase(
        "delivers a damaged file, always",
        faults(Fault("GET", "flip")),
        ChecksumError,
        "delivered a damaged file twice",
    ),
    HubCase(
        "delivers more bytes than it promised",
        faults(Fault("GET", "long")),
        ChecksumError,
        "delivered a damaged file twice",
    ),
    HubCase(
        "delivers fewer bytes than it promised",
        faults(Fault("GET", "short")),
        ChecksumError,
        "delivered a damaged file twice",
    ),
    HubCase(
        "holds another file than the manifest's (sha256)",
        lambda scene: scene.change(sha256="a" * 64),
        ChecksumError,
        "holds another file than the published one: its sha256",
    ),
    HubCase(
        "holds another file than the manifest's (size)",
        lambda scene: scene.change(size=12),
        ChecksumError,
        "holds another file than the published one",
    ),
    HubCase("is private, and HF_TOKEN may read it", make_private_with_token),
    HubCase(
        "is private, and there is no token (401)",
        make_private,
        DownloadError,
        "no such repository",
    ),
    HubCase(
        "refuses the token (401)", send_bad_token, DownloadError, "the token was refused (401)"
    ),
    HubCase("is gated (403)", make_gated, DownloadError, "the repository is gated"),
    HubCase(
        "forbids access (403)",
        faults(Fault("HEAD", "status", 403)),
        DownloadError,
        "access is forbidden (403)",
    ),
    HubCase(
        "has no such repository (404)",
        lambda scene: scene.change(repo_id="galaxies/none"),
        DownloadError,
        "no such repository",
    ),
    HubCase(
        "has no such revision (404)",
        lambda scene: scene.change(revision="1" * 40),
        DownloadError,
        "no such revision",
    ),
    HubCase(
        "has no such file (404)",
        lambda scene: scene.change(filename="other.safetensors"),
        DownloadError,
        "no such file",
    ),
    HubCase("asks to wait (429), once", faults(Fault("HEAD", "status", 429, times=1))),
    HubCase(
        "asks to wait (429), always",
        faults(Fault("HEAD", "status", 429)),
        DownloadError,
        "too many requests (429)",
    ),
    HubCase("is out of order (500), twice", faults(Fault("HEAD", "status", 500, times=2))),
    HubCase(
        "is out of order (503), always",
        faults(Fault("HEAD", "status", 503)),
        DownloadError,
        "out of order (503)",
    ),
    HubCase(
        "is out of order in the body (502), once", faults(Fault("GET", "status", 502, times=1))
    ),
    HubCase(
        "is out of order in the body (502), always",
        faults(Fault("GET", "status", 502)),
        DownloadError,
        "out of order (502)",
    ),
    HubCase("falls silent, once", faults(Fault("HEAD", "silent", 5, times=1))),
    HubCase(
        "falls silent, always", faults(Fault("HEAD", "silent", 5)), DownloadError, "fell silent"
    ),
    HubCase("falls silent in the body, once", faults(Fault("GET", "stall", 70_000, times=1))),
    HubCase(
        "falls silent in the body, always",
        faults(Fault("GET", "stall", 0)),
        DownloadError,
        "fell silent",
    ),
    HubCase(
        "names no commit (a web page, a proxy)",
        faults(Fault("HEAD", "no_commit")),
        DownloadError,
        "does not answer as a Hub does",
    ),
    HubCase(
        "names no ETag",
        faults(Fault("HEAD", "no_etag")),
        DownloadError,
        "does not answer as a Hub does",
    ),
    HubCase(
        "answers with another commit",
        faults(Fault("HEAD", "commit")),
        DownloadError,
        "answered with another commit",
    ),
    HubCase("cannot be reached", stop_server, DownloadError, "cannot reach"),
    HubCase("is not asked: `HF_HUB_OFFLINE=1`", go_offline, OfflineError, "the network is off"),
    HubCase("delivers; the file in the cache was damaged", damage_cache),
    HubCase(
        "is not asked: offline, and the file in the cache is damaged",
        damage_cache_offline,
        ChecksumError,
        "a fresh one cannot be had",
    ),
    HubCase(
        "is not asked: the model is not published, and its bundled file is missing",
        unpublish,
        DownloadError,
        "is not published",
    ),
    HubCase(
        "delivers, but the cache cannot be written to",
        block_cache,
        DownloadError,
        "cannot write to",
    ),
)


def render_table() -> str:
    """The table of the docs, as Markdown."""
    lines = ["| The Hub | Result | The message says |", "|---|---|---|"]
    for case in CASES:
        result = f"`{case.error.__name__}`" if case.error else "the file"
        lines.append(f"| {case.what} | {result} | {case.says} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render_table(), end="")
