"""A release to the Hub, and its revision into the manifest.

    python tools/publish.py release/ --repo-id ORG/NAME [--name NAME] [--manifest FILE] [--private]

``release/`` holds one ``.safetensors`` file and ``README.md``, the model card. ``config.json`` (the
entry) is written beside them, everything is uploaded in one commit, and revision, sha256 and size
go into the manifest: commit it. A model that the manifest does not have yet is described by a
``config.json`` with the fields of its entry. Whatever fails leaves the manifest as it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifest_file import replace_entry, write_manifest

from galmorph.errors import DownloadError, GalmorphError, ManifestError, WeightsError
from galmorph.schema import parse_json
from galmorph.weights.hub import (
    HubPlace,
    get_endpoint,
    get_facts,
    is_offline,
    offline_error,
    say_failures,
)
from galmorph.weights.manifest import (
    ManifestEntry,
    entry_from_dict,
    entry_to_dict,
    load_manifest,
    manifest_path,
)
from galmorph.weights.verify import check_whole, compute_sha256

CONFIG = "config.json"
CARD = "README.md"

_NOT_YET = "0" * 40
"""The revision until the Hub has answered."""


@dataclass(frozen=True)
class Release:
    """A folder that is checked and ready to be uploaded: its entry lacks the revision only."""

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
    """Check a folder before anything is uploaded, and write its config.json."""
    folder = Path(folder)
    weights = _find_weights_file(folder)
    if not (folder / CARD).is_file():
        raise WeightsError(f"{folder}: has no {CARD}: write the model card first")
    check_whole(weights)
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
        fields = parse_json((folder / CONFIG).read_bytes())
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
    """Upload a release in one commit, check what the Hub has, and update the manifest."""
    place = HubPlace(str(release.entry.repo_id), release.weights.name, "main")
    if is_offline():
        raise offline_error(place)
    with say_failures(place):
        revision = _upload(release, private)
        facts = get_facts(dataclasses.replace(place, revision=revision))
    if facts.etag != release.entry.sha256 or facts.size not in (None, release.entry.size):
        raise DownloadError(
            f"{place}: the Hub does not have what was sent: its sha256 is {facts.etag}, sent was "
            f"{release.entry.sha256}; the manifest is left as it was"
        )
    entry = dataclasses.replace(release.entry, revision=facts.commit)
    write_manifest(replace_entry(load_manifest(release.manifest), entry), release.manifest)
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


def main() -> int:
    """Publish; 1 where something is missing or the Hub refuses."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repo-id", required=True, metavar="ORG/NAME")
    parser.add_argument("--name", help="of the manifest entry (default: the weights file's name)")
    parser.add_argument("--manifest", type=Path, help="default: the package's own")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    given = parser.parse_args()
    target = given.manifest or manifest_path()
    try:
        release = prepare_release(
            given.folder, repo_id=given.repo_id, manifest=target, name=given.name
        )
        entry = publish_release(release, private=given.private)
    except GalmorphError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{entry.name}  {entry.repo_id}  {entry.revision}")
    print(f"{target} is updated: commit it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
