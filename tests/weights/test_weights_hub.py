"""Every way a Hub can answer ends in the file or in one clear error."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from unittest.mock import patch

import pytest
from hub_cases import CASES, HubCase, Scene, render_table
from hub_server import TOKEN, Fault, HubServer

from galmorph.errors import ChecksumError, DownloadError, GalmorphWarning, OfflineError
from galmorph.weights.hub import HubPlace, fetch_hub_file, find_cached, say_failures
from galmorph.weights.locate import locate_weights
from galmorph.weights.manifest import Manifest, ManifestEntry

DOCS = Path(__file__).resolve().parents[2] / "docs" / "notes" / "hub.md"


def locate(entry: ManifestEntry, *, offline: bool = False) -> Path:
    with patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"} if offline else {}):
        return locate_weights(entry.name, manifest=Manifest((entry,))).path


def left_over(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*.incomplete"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_each_case_ends_in_the_file_or_in_one_clear_error(
    case: HubCase,
    hub: HubServer,
    published: ManifestEntry,
    clean_environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    weights_bytes: bytes,
) -> None:
    scene = Scene(hub, published, clean_environment, monkeypatch)
    case.prepare(scene)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if scene.warns else "error", GalmorphWarning)
        if case.error is None:
            path = locate(scene.entry)
            assert path.read_bytes() == weights_bytes
            assert left_over(clean_environment) == []
            return
        with pytest.raises(case.error) as caught:
            locate(scene.entry)
    assert type(caught.value) is case.error
    message = str(caught.value)
    assert case.says in message
    assert scene.entry.filename in message or scene.entry.name in message
    assert "\n" not in message
    assert find_cached("galaxies/demo", "demo.safetensors", revision=str(published.revision)) in (
        None,
        find_cached_damaged(scene),
    )


def find_cached_damaged(scene: Scene) -> object:
    """A case may have put a damaged file there itself; it must be that one still."""
    found = find_cached("galaxies/demo", "demo.safetensors", revision=str(scene.entry.revision))
    return found if found and found.path.read_bytes() == b"cut short" else None


def test_the_table_in_the_docs_is_the_tested_one() -> None:
    assert render_table() in DOCS.read_text(encoding="utf-8")


def test_a_second_look_up_asks_nobody(hub: HubServer, published: ManifestEntry) -> None:
    first = locate(published)
    asked = len(hub.seen)
    assert locate(published) == first
    assert locate(published, offline=True) == first
    assert len(hub.seen) == asked


def test_the_cache_is_the_hub_cache(
    published: ManifestEntry, hub: HubServer, clean_environment: Path
) -> None:
    from huggingface_hub import hf_hub_download

    path = locate(published)
    asked = len(hub.seen)
    theirs = hf_hub_download(
        "galaxies/demo",
        "demo.safetensors",
        revision=published.revision,
        cache_dir=clean_environment / "hub",
        endpoint=hub.url,
    )
    assert Path(theirs).resolve() == path.resolve()
    assert len(hub.seen) == asked


def test_a_file_that_huggingface_hub_downloaded_is_used(
    published: ManifestEntry, hub: HubServer, clean_environment: Path
) -> None:
    # Older ones take the endpoint from their import only.
    pytest.importorskip("huggingface_hub", minversion="1.0")
    from huggingface_hub import hf_hub_download

    cache = clean_environment / "hub"
    theirs = hf_hub_download(
        "galaxies/demo",
        "demo.safetensors",
        revision=published.revision,
        cache_dir=cache,
        endpoint=hub.url,
    )
    assert locate(published, offline=True).resolve() == Path(theirs).resolve()


def test_the_token_is_sent_to_the_hub_and_not_to_its_storage(
    hub: HubServer, published: ManifestEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    locate(published)
    to_hub = [s for s in hub.seen if "/resolve/" in s.path]
    to_storage = [s for s in hub.seen if "/storage/" in s.path]
    assert to_hub and all(s.headers.get("authorization") == f"Bearer {TOKEN}" for s in to_hub)
    assert to_storage and not any("authorization" in s.headers for s in to_storage)


def test_a_broken_download_goes_on_where_it_stopped(
    hub: HubServer,
    published: ManifestEntry,
    weights_bytes: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    hub.faults.append(Fault("GET", "cut", 70_000, times=1))
    assert locate(published).read_bytes() == weights_bytes
    first, second = [s.headers.get("range") for s in hub.seen if "/storage/" in s.path]
    assert first is None
    assert second == f"bytes={4 << 14}-"


def test_a_damaged_file_in_the_cache_is_named_and_replaced(
    hub: HubServer, published: ManifestEntry, weights_bytes: bytes
) -> None:
    path = locate(published)
    path.resolve().write_bytes(weights_bytes[:-1] + b"?")
    with pytest.warns(GalmorphWarning, match=rf"refused: .*{path.name}: is not the published file"):
        again = locate(published)
    assert again.read_bytes() == weights_bytes


def test_a_file_that_changes_after_its_check_is_checked_again(
    published: ManifestEntry, weights_bytes: bytes
) -> None:
    path = locate(published).resolve()
    path.write_bytes(b"\0" + weights_bytes[1:])
    with (
        pytest.warns(GalmorphWarning, match="is not the published file"),
        pytest.raises(ChecksumError, match="It was not used"),
    ):
        locate(published, offline=True)


def test_huggingface_hub_may_be_offline_by_itself(
    published: ManifestEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants, utils

    # As when HF_HUB_OFFLINE was set while it was imported and is not set any more.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    if hasattr(utils, "reset_sessions"):  # before 1.0
        utils.reset_sessions()
    with pytest.raises(OfflineError, match="the network is off"):
        locate(published)


def test_a_branch_is_resolved_and_recorded(
    hub: HubServer, published: ManifestEntry, weights_bytes: bytes
) -> None:
    got = fetch_hub_file(HubPlace("galaxies/demo", "demo.safetensors"))
    assert got.revision == published.revision
    assert find_cached("galaxies/demo", "demo.safetensors") is not None
    newer = hub.repos["galaxies/demo"].commit({"demo.safetensors": weights_bytes[::-1]})
    got = fetch_hub_file(HubPlace("galaxies/demo", "demo.safetensors"))
    assert got.revision == newer
    assert got.path.read_bytes() == weights_bytes[::-1]


def test_an_etag_cannot_leave_the_cache(
    hub: HubServer, published: ManifestEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer:
        commit_hash = "a" * 40
        etag = "../../../evil"
        size = 3

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *a, **k: Answer())
    with pytest.raises(DownloadError, match="does not answer as a Hub does"):
        locate(published)


def test_the_password_of_a_mirror_is_not_told(
    published: ManifestEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://me:secret@127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"cannot reach http://127\.0\.0\.1:9 ") as caught:
        locate(published)
    assert "secret" not in str(caught.value)


def test_a_full_disk_and_an_unforeseen_error_are_named() -> None:
    place = HubPlace("galaxies/demo", "demo.safetensors", "main")
    full = OSError(errno.ENOSPC, "No space left on device", "/cache/blob")
    with pytest.raises(DownloadError, match="the disk of /cache/blob is full"), say_failures(place):
        raise full
    odd = "^demo.safetensors of galaxies/demo at main: LookupError: odd$"
    with pytest.raises(DownloadError, match=odd), say_failures(place):
        raise LookupError("odd")
