"""From a model's name, or a path, to a checked weights file on this machine.

The order: a path as given, ``GALMORPH_WEIGHTS_DIR``, the package, the Hub cache, the Hub.
"""

import dataclasses
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galmorph.errors import (
    CheckpointError,
    ChecksumError,
    DownloadError,
    GalmorphWarning,
    ManifestError,
    UnknownModelError,
    WeightsError,
)
from galmorph.origin import hide_home
from galmorph.schema import parse_json
from galmorph.weights.hub import (
    HubFile,
    HubPlace,
    fetch_hub_file,
    find_cached,
    get_facts,
    get_promised_sha256,
    is_offline,
    say_endpoint,
    say_failures,
    weights_dir,
)
from galmorph.weights.manifest import Manifest, ManifestEntry, entry_from_dict, load_manifest
from galmorph.weights.verify import (
    check_whole,
    compute_sha256,
    read_sidecar,
    verify_file,
    write_sidecar,
)
from galmorph.writing import put_in_place

BUNDLED = Path(__file__).resolve().parent / "bundled"  # weights that the package carries
_SUFFIXES = (".safetensors", ".pth", ".tar", ".pt", ".bin", ".ckpt", ".pkl")
"""Endings by which a text is a path; a model's name may hold dots as well."""
CONFIG = "config.json"
FILES = ("model.safetensors", "pytorch_model.bin")  # of timm, the better one first
_HUB_NAME = re.compile(r"hf[_-]hub:([\w.-]+/[\w.-]+)(?:@([\w.-]+))?")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file that was found and checked; whoever loads it must find that `sha256`."""

    path: Path
    sha256: str
    source: str
    entry: ManifestEntry | None
    revision: str | None


def locate_weights(
    name_or_path: str | os.PathLike[str], *, manifest: Manifest | None = None
) -> WeightsFile:
    """Find a model's weights by name, ``hf_hub:ORG/NAME`` or path; download them if need be."""
    if _is_path(name_or_path):
        return _locate_path(Path(name_or_path), manifest)
    manifest = load_manifest() if manifest is None else manifest
    entry = _find_entry(os.fspath(name_or_path), manifest)
    refused: list[WeightsError] = []
    for source, path, revision, found in _check_local(entry):
        if isinstance(found, str):
            return WeightsFile(path, found, source, entry, revision)
        refused.append(found)
        warnings.warn(f"refused: {found}", GalmorphWarning, stacklevel=2)
    return _download(entry, refused)


def _find_entry(name: str, manifest: Manifest) -> ManifestEntry:
    try:
        return manifest.get(name)
    except UnknownModelError:
        if not is_hub_name(name):
            raise
    return describe_unlisted(name)


def _is_path(name_or_path: str | os.PathLike[str]) -> bool:
    if not isinstance(name_or_path, str):
        return True
    if name_or_path.startswith(("hf_hub:", "hf-hub:")):
        return False
    separators = [os.sep, os.altsep or os.sep]
    return any(s in name_or_path for s in separators) or name_or_path.endswith(_SUFFIXES)


def _locate_path(path: Path, manifest: Manifest | None) -> WeightsFile:
    """A file of the user's, as ``FILE.sha256`` beside it says; safetensors, or a known pickle."""
    path = Path(os.path.expanduser(path))
    try:
        if not path.is_file():
            kind = "is a folder, not a weights file" if path.is_dir() else "does not exist"
            raise WeightsError(
                f"{path}: {kind}; give a .safetensors file or a name of the manifest"
            )
        digest = verify_file(path, sha256=read_sidecar(path), size=None)
        entry = _find_pickle(path, digest, manifest) if path.suffix == ".bin" else None
        if entry is None:
            check_whole(path)
    except PermissionError as error:
        raise WeightsError(f"{path}: may not be read ({error.strerror})") from None
    return WeightsFile(path, digest, "path", entry, None)


def _find_pickle(path: Path, sha256: str, manifest: Manifest | None) -> ManifestEntry | None:
    """Entry of a pickle; of one that is not pinned, by the file's name."""
    known = load_manifest() if manifest is None else manifest
    pickles = [entry for entry in known.models if entry.format == "pytorch"]
    by_name = (e for e in pickles if e.sha256 is None and e.local_name == path.name)
    return next((e for e in pickles if e.sha256 == sha256), next(by_name, None))


def bundled_path(entry: ManifestEntry) -> Path | None:
    """Path in the package of an entry's weights, None where the package does not carry them."""
    return BUNDLED / entry.bundled if entry.bundled else None


def find_local(entry: ManifestEntry) -> Iterator[tuple[str, Path, str | None]]:
    """Source, path and revision of files here that may be the weights, unchecked, best first."""
    if folder := weights_dir():
        yield "folder", folder / entry.local_name, None
    if bundled := bundled_path(entry):
        yield "bundled", bundled, None
    revision = entry.revision or "main"
    if entry.repo_id and (cached := find_cached(entry.repo_id, entry.filename, revision=revision)):
        yield "cache", cached.path, cached.revision


def _check_local(
    entry: ManifestEntry, *, remembered: bool = True
) -> Iterator[tuple[str, Path, str | None, str | WeightsError]]:
    """The local files that are there, each with its sha256 or with what is wrong with it."""
    for source, path, revision in find_local(entry):
        found: str | WeightsError
        try:
            if not path.is_file():
                continue
            found = _verify(entry, source, path, remembered=remembered)
        except (ChecksumError, CheckpointError, OSError) as error:
            found = _explain_unreadable(path, error)
        yield source, path, revision, found


def _explain_unreadable(path: Path, error: WeightsError | OSError) -> WeightsError:
    if isinstance(error, WeightsError):
        return type(error)(hide_home(str(error)))
    return WeightsError(hide_home(f"{path}: cannot be read ({error.strerror or error})"))


def _verify(entry: ManifestEntry, source: str, path: Path, *, remembered: bool = True) -> str:
    """Check a file by the entry or the Hub's word; in the folder else by the file beside it."""
    sha256 = entry.sha256 or get_promised_sha256(path)
    if sha256 is None and source == "folder":
        sha256 = read_sidecar(path)
        if sha256 is None:
            raise ChecksumError(f"{path}: has no {path.name}.sha256 beside it to check it by")
    if entry.format == "safetensors" and entry.sha256 is None:
        check_whole(path)
    return verify_file(path, sha256=sha256, size=entry.size, remembered=remembered)


def _download(entry: ManifestEntry, refused: list[WeightsError]) -> WeightsFile:
    """The last resort; what was refused before stands in the error if this fails too."""
    if entry.repo_id is None:
        raise _explain_unpublished(entry, refused)
    if is_offline():
        if refused:
            raise ChecksumError(
                f"{refused[0]}. It was not used, and a fresh one cannot be had: the network is off"
            )
    elif not entry.pinned:
        _warn_unpinned(entry)
    place = HubPlace(entry.repo_id, entry.filename, entry.revision or "main")
    got = fetch_hub_file(place, sha256=entry.sha256, size=entry.size)
    return WeightsFile(got.path, _verify(entry, "hub", got.path), "hub", entry, got.revision)


def _explain_unpublished(entry: ManifestEntry, refused: list[WeightsError]) -> WeightsError:
    if refused:
        return ChecksumError(f"{refused[0]}. It was not used: install galmorph again")
    return DownloadError(
        f"{entry.name}: is not published on {say_endpoint()}, it comes with the package only, and "
        f"{hide_home(str(bundled_path(entry)))} is missing: install galmorph again"
    )


def _warn_unpinned(entry: ManifestEntry) -> None:
    what = "sha256" if entry.revision else "revision"
    warnings.warn(
        f"{entry.name}: no {what} is pinned in the manifest; the file is checked against what the "
        "Hub says of it today, and its commit and sha256 are recorded with the results",
        GalmorphWarning,
        stacklevel=4,
    )


def verify_local(entry: ManifestEntry) -> Iterator[tuple[Path, WeightsError | None]]:
    """Check every file here that may be an entry's weights, byte by byte; None for a good one."""
    for _, path, _, found in _check_local(entry, remembered=False):
        yield path, found if isinstance(found, WeightsError) else None


def copy_to_folder(found: WeightsFile, folder: Path) -> Path:
    """Copy a weights file for a machine without network, with ``FILE.sha256`` beside it."""
    target = folder / (found.entry.local_name if found.entry else found.path.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with put_in_place(target) as temporary:
            shutil.copyfile(found.path, temporary)
        write_sidecar(target, compute_sha256(target))
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written to ({error.strerror})") from None
    return target


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
