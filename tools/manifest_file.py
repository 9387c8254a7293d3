"""Writing the manifest of released models."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from galmorph.weights.manifest import Manifest, ManifestEntry, entry_to_dict, manifest_from_dict
from galmorph.writing import write_whole


def replace_entry(manifest: Manifest, entry: ManifestEntry) -> Manifest:
    """A manifest in which `entry` stands for the one of its name, or is added."""
    models = [entry if old.name == entry.name else old for old in manifest.models]
    if entry.name not in manifest.names:
        models.append(entry)
    return dataclasses.replace(manifest, models=tuple(models))


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a manifest whole or not at all; entries that break a rule are refused."""
    data = {
        "$schema": "galmorph/schema.json",
        "schema_version": 1,
        "default_model": manifest.default_model,
        "models": [entry_to_dict(entry) for entry in manifest.models],
    }
    manifest_from_dict(data)
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    write_whole(os.fspath(path), text.encode())
