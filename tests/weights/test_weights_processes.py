"""Two real processes at once, and one that is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import Fault, HubServer

from galmorph.weights.manifest import ManifestEntry

SCRIPT = Path(__file__).with_name("fetch_in_process.py")
ROOT = Path(__file__).resolve().parents[2]

UseManifest = Callable[..., Path]


def start(manifest: Path, *options: str) -> subprocess.Popen[str]:
    environment = dict(os.environ, PYTHONPATH=str(ROOT), HF_HUB_DISABLE_PROGRESS_BARS="1")
    environment["HF_HUB_DISABLE_XET"] = "1"
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(manifest), "demo", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the process did not get so far"
        time.sleep(0.01)


def blob_names(home: Path) -> list[str]:
    return sorted(p.name for p in (home / "hub").glob("models--*/blobs/*"))


@pytest.mark.parametrize("options", [(), ("--no-lock",)], ids=["lock", "lock-that-does-nothing"])
def test_two_processes_that_start_at_once_both_get_the_file(
    options: tuple[str, ...],
    hub: HubServer,
    published: ManifestEntry,
    use_manifest: UseManifest,
    clean_environment: Path,
    weights_bytes: bytes,
) -> None:
    hub.faults.append(Fault("GET", "pace", 1.5))
    manifest = use_manifest(published)
    processes = [start(manifest, *options) for _ in range(2)]
    for process in processes:
        assert published.sha256 in finish(process)
    assert blob_names(clean_environment) == [published.sha256]
    (blob,) = (clean_environment / "hub").glob("models--*/blobs/*")
    assert blob.read_bytes() == weights_bytes
    bodies = hub.count("GET", "/storage/")
    assert bodies == (2 if options else 1)


def test_a_killed_download_leaves_nothing_that_is_used(
    hub: HubServer,
    published: ManifestEntry,
    use_manifest: UseManifest,
    clean_environment: Path,
    weights_bytes: bytes,
) -> None:
    hub.faults.append(Fault("GET", "stall", 120_000, times=1))
    manifest = use_manifest(published)
    process = start(manifest)
    wait_for(lambda: hub.count("GET", "/storage/") == 1 and blob_names(clean_environment) != [])
    process.kill()
    process.communicate(timeout=10)
    assert published.sha256 not in blob_names(clean_environment)

    assert finish(start(manifest)).split() == [published.sha256, "hub"]
    (blob,) = (clean_environment / "hub").glob(f"models--*/blobs/{published.sha256}")
    assert blob.read_bytes() == weights_bytes
