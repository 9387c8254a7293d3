"""For maintainers: a release to the Hub, and its revision into the manifest."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galmorph.errors import DownloadError, ManifestError, WeightsError
from galmorph.weights.entry import ManifestEntry
from galmorph.weights.environment import get_endpoint, is_offline
from galmorph.weights.hub_errors import HubFileId, offline_error, translate
from galmorph.weights.hub_transport import get_facts
from galmorph.weights.manifest import (
    entry_from_dict,
    entry_to_dict,
    load_manifest,
    write_manifest,
)
from galmorph.weights.verify import check_safetensors, compute_sha256

__all__ = ["Release", "prepare_release", "publish_release"]

CONFIG = "config.json"
CARD = "README.md"

_NOT_YET = "0" * 40
"""Stands for the revision until the Hub has answered."""


@dataclass(frozen=True, slots=True)
class Release:
    """A folder that is checked and ready to be uploaded.

    Parameters
    ----------
    folder, weights, manifest : Path
        The folder, the one ``.safetensors`` file in it, and the manifest to be updated.
    entry : ManifestEntry
        As it will stand in the manifest, but for the revision.
    """

    folder: Path
    weights: Path
    manifest: Path
    entry: ManifestEntry


def prepare_release(
    folder: str | os.PathLike[str],
    *,
    repo_id: str,
    manifest: str | os.PathLike[str],
    name: str | None = None,
) -> Release:
    """Check a folder before anything is uploaded, and write its config.json.

    Parameters
    ----------
    folder : path-like
        Holds one ``.safetensors`` file and the model card ``README.md``. For a model that the
        manifest does not have yet, ``config.json`` holds the fields of its entry.
    repo_id : str
        ``ORG/NAME``.
    manifest : path-like
        The file that will be updated.
    name : str, optional
        Of the manifest entry; the weights file's own name otherwise.

    Returns
    -------
    Release

    Raises
    ------
    WeightsError
        Something is missing from the folder; the message says what.
    ManifestError
        There is no entry, or it does not fit the file.
    """
    folder = Path(folder)
    weights = _find_weights_file(folder)
    if not (folder / CARD).is_file():
        raise WeightsError(f"{folder}: has no {CARD}: write the model card first")
    check_safetensors(weights)
    known = _find_fields(folder, name or weights.stem, Path(manifest))
    sha256 = compute_sha256(weights, remembered=False)
    if known.get("bundled") and known.get("sha256") not in (None, sha256):
        raise ManifestError(
            f"manifest entry {known['name']!r}, sha256: {weights} is not the bundled file; bundle "
            "it first, or publish it under another name"
        )
    place = {"repo_id": repo_id, "revision": _NOT_YET, "pinned": True, "filename": weights.name}
    file = {"sha256": sha256, "size": weights.stat().st_size}
    entry = entry_from_dict({**known, **place, **file})
    _write_config(folder, entry)
    return Release(folder, weights, Path(manifest), entry)


def _find_weights_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if len(files) != 1:
        raise WeightsError(
            f"{folder}: must be a folder with one .safetensors file, not {len(files)}"
        )
    return files[0]


def _find_fields(folder: Path, name: str, manifest: Path) -> dict[str, Any]:
    """Fields of the manifest's entry, or of a new one from config.json."""
    there = load_manifest(manifest)
    if name in there.names:
        return entry_to_dict(there.get(name))
    try:
        fields = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError:
        raise ManifestError(
            f"manifest entry {name!r}: there is none in {manifest}, and no {folder / CONFIG} "
            "describes it"
        ) from None
    except ValueError as error:
        raise ManifestError(f"{folder / CONFIG}: is not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise ManifestError(f"{folder / CONFIG}: does not hold the fields of a manifest entry")
    return {**fields, "name": name}


def _write_config(folder: Path, entry: ManifestEntry) -> None:
    """config.json: the entry without its place, which the commit itself decides."""
    places = ("repo_id", "revision", "pinned", "bundled")
    fields = {key: value for key, value in entry_to_dict(entry).items() if key not in places}
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")


def publish_release(release: Release, *, private: bool = False) -> ManifestEntry:
    """Upload a release in one commit, check what the Hub has, and update the manifest.

    Parameters
    ----------
    release : Release
    private : bool
        Whether a new repository is made private.

    Returns
    -------
    ManifestEntry
        As it now stands in the manifest, with the revision.

    Raises
    ------
    DownloadError
        The Hub refused, or does not have what was sent; the manifest is left as it was.
    OfflineError
        The network is off.
    """
    file = HubFileId(get_endpoint(), str(release.entry.repo_id), "main", release.weights.name)
    if is_offline():
        raise offline_error(file)
    try:
        revision = _upload(release, private)
        facts = get_facts(dataclasses.replace(file, revision=revision))
    except Exception as error:
        translated = translate(error, file)
        if translated is error:
            raise
        raise translated from error
    if facts.etag != release.entry.sha256 or facts.size not in (None, release.entry.size):
        raise DownloadError(
            f"{file}: the Hub does not have what was sent: its sha256 is {facts.etag}, sent was "
            f"{release.entry.sha256}; the manifest is left as it was"
        )
    entry = dataclasses.replace(release.entry, revision=facts.commit)
    write_manifest(load_manifest(release.manifest).replace(entry), release.manifest)
    return entry


def _upload(release: Release, private: bool) -> str:
    """One commit with all files; returns its 40 hex digits."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=get_endpoint())
    repo_id = str(release.entry.repo_id)
    api.create_repo(repo_id, private=private, exist_ok=True)
    paths = [release.weights, release.folder / CONFIG, release.folder / CARD]
    operations = [CommitOperationAdd(path.name, path) for path in paths]
    commit = api.create_commit(repo_id, operations, commit_message=f"Release {release.entry.name}")
    return str(commit.oid)
