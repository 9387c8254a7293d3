"""Encoders in timm's layout that the manifest does not list, by ``hf_hub:ORG/NAME``."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from galmorph.errors import CheckpointError, ManifestError
from galmorph.schema import parse_json
from galmorph.weights.environment import is_offline
from galmorph.weights.hub import (
    HubFile,
    HubPlace,
    fetch_hub_file,
    find_cached,
    get_facts,
    say_failures,
)
from galmorph.weights.manifest import ManifestEntry, entry_from_dict

CONFIG = "config.json"
FILES = ("model.safetensors", "pytorch_model.bin")  # of timm, the better one first
_HUB_NAME = re.compile(r"hf[_-]hub:([\w.-]+/[\w.-]+)(?:@([\w.-]+))?")


@dataclass(frozen=True, slots=True)
class UnlistedEntry(ManifestEntry):
    """An entry whose name others may have as well: it is without organisation and commit."""

    @property
    def local_name(self) -> str:
        """File name outside of the Hub cache: ``ORG--NAME--COMMIT`` and its format's ending."""
        return f"{self.repo_id}--{self.revision}".replace("/", "--") + self.suffix


def is_hub_name(name: str) -> bool:
    """Tell whether a name is ``hf_hub:ORG/NAME`` or ``hf_hub:ORG/NAME@REVISION``."""
    return _HUB_NAME.fullmatch(name) is not None


def describe_unlisted(name: str) -> ManifestEntry:
    """Describe a timm encoder of the Hub by its own config.json; nobody vouches for its sha256."""
    match = _HUB_NAME.fullmatch(name)
    repo_id, revision = (match[1], match[2] or "main") if match else (name, "main")
    found = _get_config(repo_id, revision)
    filename = _choose_file(repo_id, found.revision)
    try:
        config = parse_json(found.path.read_bytes())
        described = entry_from_dict(_make_entry(repo_id, found.revision, filename, config))
    except (ManifestError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise CheckpointError(
            f"{repo_id}: is not an encoder in timm's layout; its {CONFIG} does not say what it is "
            f"({type(error).__name__}: {error})"
        ) from None
    fields = dataclasses.fields(described)
    return UnlistedEntry(**{field.name: getattr(described, field.name) for field in fields})


def _get_config(repo_id: str, revision: str) -> HubFile:
    cached = find_cached(repo_id, CONFIG, revision=revision)
    if cached and (is_offline() or cached.revision == revision):
        return cached
    return fetch_hub_file(HubPlace(repo_id, CONFIG, revision))


def _choose_file(repo_id: str, revision: str) -> str:
    """model.safetensors where there is one, in the cache or on the Hub."""
    for filename in FILES:
        if find_cached(repo_id, filename, revision=revision):
            return filename
    if is_offline() or _has_file(HubPlace(repo_id, FILES[0], revision)):
        return FILES[0]
    return FILES[1]


def _has_file(place: HubPlace) -> bool:
    from huggingface_hub.errors import EntryNotFoundError

    with say_failures(place):
        try:
            get_facts(place)
        except EntryNotFoundError:
            return False
    return True


def _make_entry(repo_id: str, revision: str, filename: str, config: Any) -> dict[str, Any]:
    """As config.json says, but for Zoobot, which names the mean and std of ImageNet by mistake."""
    name, settings = repo_id.split("/")[1], config["pretrained_cfg"]
    zoobot, unknown = "zoobot" in name, "see its model card"
    return {
        "name": re.sub(r"[^a-z0-9_.-]", "_", name.lower()).lstrip("_.-"),
        "kind": "timm",
        "architecture": config["architecture"],
        "description": f"{repo_id}, not in galmorph's manifest.",
        "licence": unknown,
        "filename": filename,
        "format": "safetensors" if filename == FILES[0] else "pytorch",
        "pinned": False,
        "input": {
            "bands": ["red", "green", "blue"],
            "field_of_view": {"value": 1.0, "unit": "fraction"},
            "img_size": settings["input_size"][-1],
            "interpolation": "bilinear" if zoobot else settings.get("interpolation", "bicubic"),
            "stretch": "rendered",
            "mean": [0.0] * 3 if zoobot else settings["mean"],
            "std": [1.0] * 3 if zoobot else settings["std"],
        },
        "embedding_width": config["num_features"],
        "training_data": unknown,
        "recipe": unknown,
        "repo_id": repo_id,
        "revision": revision,
    }
