"""From a model's name, or a path, to a checked weights file on this machine.

The order: a path as given, ``GALMORPH_WEIGHTS_DIR``, the package, the Hub cache, the Hub.
"""

import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from galmorph.errors import (
    CheckpointError,
    ChecksumError,
    DownloadError,
    GalmorphWarning,
    UnknownModelError,
    WeightsError,
)
from galmorph.origin import hide_home
from galmorph.weights.environment import is_offline, weights_dir
from galmorph.weights.hub import (
    HubPlace,
    fetch_hub_file,
    find_cached,
    get_promised_sha256,
    say_endpoint,
)
from galmorph.weights.manifest import Manifest, ManifestEntry, load_manifest
from galmorph.weights.unlisted import describe_unlisted, is_hub_name
from galmorph.weights.verify import (
    compute_sha256,
    read_header,
    read_sidecar,
    verify_file,
    write_sidecar,
)
from galmorph.writing import put_in_place

BUNDLED = Path(__file__).resolve().parent / "bundled"  # weights that the package carries
_SUFFIXES = (".safetensors", ".pth", ".tar", ".pt", ".bin", ".ckpt", ".pkl")
"""Endings by which a text is a path; a model's name may hold dots as well."""


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
            read_header(path)
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
        read_header(path)
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
