"""The manifest of released models: read, look up, write."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from galmorph.errors import ManifestError, UnknownModelError
from galmorph.weights.entry import (
    ExpectedInput,
    FieldError,
    FieldOfView,
    Golden,
    Head,
    ManifestEntry,
    Metric,
)
from galmorph.writing import write_whole

__all__ = [
    "SCHEMA_VERSION",
    "Manifest",
    "entry_from_dict",
    "entry_to_dict",
    "load_manifest",
    "manifest_path",
    "write_manifest",
]

SCHEMA_VERSION = 1
"""Version of the manifest's layout; a manifest of another version is refused."""

MANIFEST_NAME = "weights_manifest.json"
_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]

_PARTS: dict[str, type[Any]] = {
    "input": ExpectedInput,
    "field_of_view": FieldOfView,
    "golden": Golden,
    "heads": Head,
    "metrics": Metric,
}

_LISTS = frozenset({"bands", "mean", "std", "class_names", "embedding", "interval"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """All released models.

    Parameters
    ----------
    models : tuple of ManifestEntry
        Names are unique.
    default_model : str or None
        The model that is used where none is named.

    Raises
    ------
    ManifestError
        Two entries share a name, or the default model is not among them.
    """

    models: tuple[ManifestEntry, ...]
    default_model: str | None = None

    def __post_init__(self) -> None:
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise ManifestError(f"manifest entry {name!r}, name: is there more than once")
        if self.default_model is not None and self.default_model not in names:
            raise ManifestError(f"default_model: {self.default_model!r} is not among the models")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models, in the manifest's order."""
        return tuple(entry.name for entry in self.models)

    def get(self, name: str) -> ManifestEntry:
        """Return the entry of that name.

        Parameters
        ----------
        name : str
            An entry's name, or ``hf_hub:ORG/NAME`` of an entry's repository.

        Raises
        ------
        UnknownModelError
            With the names that there are.
        """
        repo_id = name.removeprefix("hf_hub:").removeprefix("hf-hub:")
        for entry in self.models:
            if entry.name == name or (repo_id != name and entry.repo_id == repo_id):
                return entry
        raise UnknownModelError(
            f"no model {name!r}; known: {', '.join(self.names) or 'none'}. "
            "A path of your own must end in .safetensors"
        )

    def replace(self, entry: ManifestEntry) -> Manifest:
        """Return a manifest in which `entry` stands for the one of its name, or is added."""
        models = [entry if old.name == entry.name else old for old in self.models]
        if entry.name not in self.names:
            models.append(entry)
        return dataclasses.replace(self, models=tuple(models))


def manifest_path() -> Path:
    """Where the manifest is: in the package, or in the checkout of an editable install.

    Raises
    ------
    ManifestError
        It is in neither place.
    """
    for folder in (_PACKAGE, _CHECKOUT):
        if (folder / MANIFEST_NAME).is_file():
            return folder / MANIFEST_NAME
    raise ManifestError(
        f"{MANIFEST_NAME} is neither in {_PACKAGE} nor in {_CHECKOUT}: install galmorph again"
    )


def load_manifest(path: str | os.PathLike[str] | None = None) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    path : path-like, optional
        Without one, the package's own.

    Returns
    -------
    Manifest

    Raises
    ------
    ManifestError
        Naming the file, the entry and the field.
    """
    chosen = Path(path) if path is not None else manifest_path()
    stamp = chosen.stat().st_mtime_ns if chosen.is_file() else 0
    return _load(chosen, stamp)


@lru_cache(maxsize=8)
def _load(path: Path, stamp: int) -> Manifest:
    """Read once as long as the file is unchanged (`stamp` is its time of change)."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ManifestError(f"{path}: is not JSON ({error})") from None
    try:
        return _manifest_from_dict(data)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from None


def _manifest_from_dict(data: Any) -> Manifest:
    if not isinstance(data, dict) or not isinstance(data.get("models"), list):
        raise ManifestError("models: must be a list of entries")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ManifestError(
            f"schema_version: is {version!r}, this galmorph reads {SCHEMA_VERSION}: "
            "update galmorph or the manifest"
        )
    unknown = set(data) - {"$schema", "schema_version", "default_model", "models"}
    if unknown:
        raise ManifestError(f"{min(unknown)}: is not a field of the manifest")
    models = tuple(entry_from_dict(item) for item in data["models"])
    return Manifest(models, data.get("default_model"))


def entry_from_dict(data: Mapping[str, Any]) -> ManifestEntry:
    """Make an entry of plain JSON values.

    Raises
    ------
    ManifestError
        Naming the entry and the field, with dots for the parts of a part.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise ManifestError(f"a manifest entry has no name: {str(data)[:60]}")
    try:
        entry: ManifestEntry = _build(ManifestEntry, data)
    except FieldError as error:
        raise ManifestError(f"manifest entry {data['name']!r}, {error}") from None
    return entry


def _build(cls: type[Any], data: Any) -> Any:
    """Make a dataclass of a mapping whose keys are exactly its fields."""
    if not isinstance(data, Mapping):
        raise FieldError("", f"must be an object, not {type(data).__name__}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in data:
        if key not in fields:
            raise FieldError(str(key), "is not a field of the manifest")
    for name, field in fields.items():
        if name not in data and field.default is dataclasses.MISSING:
            raise FieldError(name, "is missing")
    return cls(**{key: _convert(key, value) for key, value in data.items()})


def _convert(key: str, value: Any) -> Any:
    """JSON value -> field: objects become their dataclass, lists become tuples."""
    if key in ("heads", "metrics"):
        return _build_list(key, value)
    if key in _PARTS:
        return None if value is None else _build_part(key, _PARTS[key], value)
    if key in _LISTS:
        if value is None and key == "interval":
            return None
        if not isinstance(value, list):
            raise FieldError(key, "must be a list")
        return tuple(value)
    return value


def _build_list(key: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise FieldError(key, "must be a list")
    return tuple(_build_part(f"{key}[{i}]", _PARTS[key], v) for i, v in enumerate(values))


def _build_part(key: str, cls: type[Any], value: Any) -> Any:
    try:
        return _build(cls, value)
    except FieldError as error:
        raise FieldError(".".join(filter(None, (key, error.name))), error.problem) from None


def entry_to_dict(entry: ManifestEntry) -> dict[str, Any]:
    """Plain JSON values of an entry: the inverse of `entry_from_dict`."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(entry)))
    return plain


def write_manifest(manifest: Manifest, path: str | os.PathLike[str]) -> None:
    """Write a manifest whole or not at all.

    Parameters
    ----------
    manifest : Manifest
    path : path-like

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    data = {
        "$schema": "galmorph/weights/manifest_schema.json",
        "schema_version": SCHEMA_VERSION,
        "default_model": manifest.default_model,
        "models": [entry_to_dict(entry) for entry in manifest.models],
    }
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    write_whole(os.fspath(path), text.encode())
