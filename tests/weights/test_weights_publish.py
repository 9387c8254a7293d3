"""Publishing, against the loopback Hub: what is sent, what is written into the manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import publish
import pytest
from hub_server import TOKEN, Fault, HubServer
from manifest_file import write_manifest
from publish import Release, prepare_release, publish_release
from weights_samples import make_entry, make_weights

from galmorph.errors import (
    CheckpointError,
    DownloadError,
    ManifestError,
    OfflineError,
    WeightsError,
)
from galmorph.weights.locate import locate_weights
from galmorph.weights.manifest import Manifest, entry_to_dict, load_manifest

# huggingface_hub 2.4 uploads with an argument that its own HTTP library deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO_ID = "galaxies/released"
CONTENT = make_weights(11)
UNPUBLISHED = make_entry(CONTENT, repo_id=None, revision=None, bundled="demo.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that can be published as the entry ``demo``."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "demo.safetensors").write_bytes(CONTENT)
    (folder / "README.md").write_text("---\nlicense: bsd-3-clause\n---\n# demo\n")
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest with the entry ``demo``, bundled only, and another."""
    path = tmp_path / "manifest.json"
    other = dataclasses.replace(UNPUBLISHED, name="other")
    write_manifest(Manifest((UNPUBLISHED, other), "demo"), path)
    return path


@pytest.fixture
def logged_in(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


def prepare(folder: Path, manifest: Path, **options: str) -> Release:
    return prepare_release(folder, repo_id=REPO_ID, manifest=manifest, **options)


def test_a_release_is_uploaded_pinned_and_can_be_had(
    logged_in: HubServer, folder: Path, manifest: Path
) -> None:
    entry = publish_release(prepare(folder, manifest))
    repo = logged_in.repos[REPO_ID]
    assert entry.revision == repo.resolve("main")
    assert sorted(repo.commits[str(entry.revision)]) == [
        "README.md",
        "config.json",
        "demo.safetensors",
    ]
    assert repo.commits[str(entry.revision)]["demo.safetensors"] == CONTENT

    written = load_manifest(manifest)
    assert written.get("demo") == entry
    assert written.names == ("demo", "other")
    assert written.default_model == "demo"
    assert entry.pinned
    assert entry.repo_id == REPO_ID
    assert entry.size == len(CONTENT)
    assert entry.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert written.get("other").repo_id is None

    unbundled = dataclasses.replace(entry, bundled=None)
    found = locate_weights("demo", manifest=Manifest((unbundled,)))
    assert (found.source, found.revision) == ("hub", entry.revision)


def test_config_json_describes_the_model_without_its_place(
    logged_in: HubServer, folder: Path, manifest: Path
) -> None:
    entry = publish_release(prepare(folder, manifest))
    config = json.loads(logged_in.repos[REPO_ID].commits[str(entry.revision)]["config.json"])
    assert config["sha256"] == entry.sha256
    assert config["input"]["img_size"] == 84
    assert not {"repo_id", "revision", "pinned", "bundled"} & set(config)


def test_a_second_release_gets_a_new_revision(
    logged_in: HubServer, folder: Path, manifest: Path
) -> None:
    first = publish_release(prepare(folder, manifest))
    (folder / "README.md").write_text("---\nlicense: bsd-3-clause\n---\n# better\n")
    second = publish_release(prepare(folder, manifest))
    assert first.revision != second.revision
    assert load_manifest(manifest).get("demo").revision == second.revision


def test_a_model_that_is_new_to_the_manifest_is_described_by_config_json(
    logged_in: HubServer, folder: Path, manifest: Path
) -> None:
    fields = entry_to_dict(UNPUBLISHED)
    for key in ("name", "bundled", "sha256", "size", "filename", "pinned"):
        del fields[key]
    (folder / "config.json").write_text(json.dumps(fields))
    entry = publish_release(prepare(folder, manifest, name="brand-new"))
    assert load_manifest(manifest).names == ("demo", "other", "brand-new")
    assert load_manifest(manifest).get("brand-new") == entry
    assert entry.bundled is None


def test_a_private_repository_is_made_private(
    logged_in: HubServer, folder: Path, manifest: Path
) -> None:
    publish_release(prepare(folder, manifest), private=True)
    assert logged_in.repos[REPO_ID].private


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda f: (f / "README.md").unlink(),
            WeightsError,
            "has no README.md: write the model card",
        ),
        (lambda f: (f / "demo.safetensors").unlink(), WeightsError, "one .safetensors file, not 0"),
        (
            lambda f: (f / "more.safetensors").write_bytes(CONTENT),
            WeightsError,
            "one .safetensors file, not 2",
        ),
        (
            lambda f: (f / "demo.safetensors").write_bytes(b"nonsense" * 9),
            CheckpointError,
            "is not a whole safetensors file",
        ),
        (
            lambda f: (f / "demo.safetensors").write_bytes(make_weights(12)),
            ManifestError,
            "'demo', sha256: .* is not the bundled file",
        ),
        (
            lambda f: (f / "demo.safetensors").rename(f / "unknown.safetensors"),
            ManifestError,
            "'unknown': there is none in .*manifest.json",
        ),
    ],
)
def test_what_cannot_be_published_is_refused_before_anything_is_sent(
    logged_in: HubServer,
    folder: Path,
    manifest: Path,
    spoil: object,
    error: type[Exception],
    message: str,
) -> None:
    spoil(folder)  # type: ignore[operator]
    before = manifest.read_bytes()
    with pytest.raises(error, match=message):
        publish_release(prepare(folder, manifest))
    assert logged_in.seen == []
    assert manifest.read_bytes() == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "does not hold the fields"),
        ("{}", "'brand-new', .*: is missing"),
    ],
)
def test_a_config_json_that_describes_nothing_is_named(
    folder: Path, manifest: Path, config: str, message: str
) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(ManifestError, match=message):
        prepare(folder, manifest, name="brand-new")


def test_a_bad_repository_name_is_refused(folder: Path, manifest: Path) -> None:
    with pytest.raises(ManifestError, match="repo_id: must be ORG/NAME"):
        prepare_release(folder, repo_id="released", manifest=manifest)


def test_without_a_token_nothing_changes(hub: HubServer, folder: Path, manifest: Path) -> None:
    before = manifest.read_bytes()
    with pytest.raises(DownloadError, match="token"):
        publish_release(prepare(folder, manifest))
    assert manifest.read_bytes() == before
    assert hub.repos == {}


def test_offline_nothing_is_sent(
    logged_in: HubServer, folder: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="the network is off"):
        publish_release(prepare(folder, manifest))
    assert logged_in.seen == []


def test_what_the_hub_has_is_compared_with_what_was_sent(
    logged_in: HubServer, folder: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = manifest.read_bytes()
    release = prepare(folder, manifest)
    commit = logged_in.add_repo(REPO_ID, {"demo.safetensors": make_weights(99)})
    monkeypatch.setattr("publish._upload", lambda *_: commit)
    with pytest.raises(DownloadError, match="does not have what was sent"):
        publish_release(release)
    assert manifest.read_bytes() == before


def test_a_hub_that_refuses_the_file_leaves_the_manifest(
    logged_in: HubServer, folder: Path, manifest: Path
) -> None:
    before = manifest.read_bytes()
    logged_in.faults.append(Fault("PUT", "status", 403))
    with pytest.raises(DownloadError, match="forbidden"):
        publish_release(prepare(folder, manifest))
    assert manifest.read_bytes() == before


def test_a_hub_that_refuses_the_commit_leaves_the_manifest(
    logged_in: HubServer, folder: Path, manifest: Path
) -> None:
    before = manifest.read_bytes()
    logged_in.faults.append(Fault("POST", "status", 403, path="/commit/"))
    with pytest.raises(DownloadError, match="forbidden"):
        publish_release(prepare(folder, manifest))
    assert manifest.read_bytes() == before


def test_the_script_says_what_it_did_and_what_is_missing(
    logged_in: HubServer,
    folder: Path,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["publish.py", str(folder), "--repo-id", REPO_ID, "--manifest", str(manifest)]
    monkeypatch.setattr("sys.argv", words)
    assert publish.main() == 0
    said = capsys.readouterr()
    revision = load_manifest(manifest).get("demo").revision
    assert revision == logged_in.repos[REPO_ID].resolve("main")
    assert str(revision) in said.out and "commit it" in said.err
    (folder / "README.md").unlink()
    assert publish.main() == 1
    assert "write the model card first" in capsys.readouterr().err
