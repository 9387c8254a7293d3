"""Encoders in timm's layout that the manifest does not list, by ``hf_hub:ORG/NAME``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galmorph.errors import CheckpointError
from galmorph.weights.entry import ExpectedInput, FieldOfView, ManifestEntry
from galmorph.weights.environment import get_endpoint, is_offline
from galmorph.weights.hub import HubFile, fetch_hub_file, find_cached
from galmorph.weights.hub_errors import HubFileId, translate
from galmorph.weights.hub_transport import get_facts

__all__ = ["describe_unlisted", "is_hub_name"]

CONFIG = "config.json"
FILES = ("model.safetensors", "pytorch_model.bin")
"""Where timm keeps weights, the better one first."""

_HUB_NAME = re.compile(r"hf[_-]hub:([\w.-]+/[\w.-]+)(?:@([\w.-]+))?")


@dataclass(frozen=True, slots=True)
class UnlistedEntry(ManifestEntry):
    """An entry whose name others may have as well: it is without organisation and commit."""

    @property
    def local_name(self) -> str:
        """File name outside of the Hub cache: ``ORG--NAME--COMMIT.safetensors``."""
        return f"{self.repo_id}--{self.revision}.safetensors".replace("/", "--")


def is_hub_name(name: str) -> bool:
    """Tell whether a name is ``hf_hub:ORG/NAME`` or ``hf_hub:ORG/NAME@REVISION``."""
    return _HUB_NAME.fullmatch(name) is not None


def describe_unlisted(name: str, *, offline: bool | None = None) -> ManifestEntry:
    """Describe a timm encoder of the Hub by its own config.json.

    Parameters
    ----------
    name : str
        ``hf_hub:ORG/NAME``, with ``@REVISION`` for a branch or a commit.
    offline : bool, optional
        Overrides ``HF_HUB_OFFLINE``.

    Returns
    -------
    ManifestEntry
        Not pinned: nobody has published its sha256.

    Raises
    ------
    CheckpointError
        The repository is not one of timm's.
    WeightsError
        The Hub did not deliver.
    """
    match = _HUB_NAME.fullmatch(name)
    repo_id, revision = (match[1], match[2] or "main") if match else (name, "main")
    found = _get_config(repo_id, revision, offline)
    filename = _choose_file(repo_id, found.revision, offline)
    try:
        config = json.loads(found.path.read_text(encoding="utf-8"))
        return _make_entry(repo_id, found.revision, filename, config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{repo_id}: is not an encoder in timm's layout; its {CONFIG} does not say what it is "
            f"({type(error).__name__}: {error})"
        ) from None


def _get_config(repo_id: str, revision: str, offline: bool | None) -> HubFile:
    cached = find_cached(repo_id, CONFIG, revision=revision)
    if cached and (is_offline(offline) or cached.revision == revision):
        return cached
    return fetch_hub_file(repo_id, CONFIG, revision=revision, offline=offline)


def _choose_file(repo_id: str, revision: str, offline: bool | None) -> str:
    """model.safetensors where there is one, in the cache or on the Hub."""
    for filename in FILES:
        if find_cached(repo_id, filename, revision=revision):
            return filename
    if is_offline(offline) or _has_file(repo_id, revision, FILES[0]):
        return FILES[0]
    return FILES[1]


def _has_file(repo_id: str, revision: str, filename: str) -> bool:
    from huggingface_hub.errors import EntryNotFoundError

    file = HubFileId(get_endpoint(), repo_id, revision, filename)
    try:
        get_facts(file)
    except EntryNotFoundError:
        return False
    except Exception as error:
        raise translate(error, file) from error
    return True


def _make_entry(
    repo_id: str, revision: str, filename: str, config: dict[str, Any]
) -> UnlistedEntry:
    return UnlistedEntry(
        name=re.sub(r"[^a-z0-9_.-]", "_", repo_id.split("/")[1].lower()).lstrip("_.-"),
        kind="timm",
        architecture=config["architecture"],
        description=f"{repo_id}, not in galmorph's manifest.",
        licence="see its model card",
        filename=filename,
        format="safetensors" if filename == FILES[0] else "pytorch",
        pinned=False,
        input=_make_input(repo_id, config["pretrained_cfg"]),
        embedding_width=config["num_features"],
        training_data="see its model card",
        recipe="see its model card",
        repo_id=repo_id,
        revision=revision,
    )


def _make_input(repo_id: str, settings: dict[str, Any]) -> ExpectedInput:
    """As config.json says, but for Zoobot, which names the mean and std of ImageNet by mistake."""
    zoobot = "zoobot" in Path(repo_id).name
    return ExpectedInput(
        bands=("red", "green", "blue"),
        field_of_view=FieldOfView(1.0, "fraction"),
        img_size=settings["input_size"][-1],
        interpolation="bilinear" if zoobot else settings.get("interpolation", "bicubic"),
        stretch="rendered",
        mean=(0.0, 0.0, 0.0) if zoobot else tuple(settings["mean"]),
        std=(1.0, 1.0, 1.0) if zoobot else tuple(settings["std"]),
    )
