"""Files of the Hub: in the shared Hub cache already, or downloaded into it.

A file comes into place whole and checked, or not at all. An interrupted download goes on where it
stopped. The lock that two processes share is the one that huggingface_hub takes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from galmorph.errors import ChecksumError
from galmorph.weights.environment import get_endpoint, hub_cache, is_offline
from galmorph.weights.hub_errors import (
    CutShortError,
    HubFileId,
    get_status,
    is_transient,
    offline_error,
    translate,
)
from galmorph.weights.hub_transport import HubFacts, get_facts, hub_utils, open_body
from galmorph.weights.partial import claim_partial

__all__ = ["HubFile", "fetch_hub_file", "find_cached", "get_promised_sha256"]

logger = logging.getLogger(__name__)

RETRY_DELAYS_S = (0.5, 2.0)
"""Seconds before the second and the third try; new bytes start the count anew."""

RETRY_FOR_S = 15.0
"""Seconds after which a question is not asked again (the library may have waited itself)."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in the Hub cache.

    Parameters
    ----------
    path : Path
    revision : str
        Its commit, 40 hex digits.
    downloaded : bool
        Whether it was fetched just now.
    """

    path: Path
    revision: str
    downloaded: bool = False


def _repo_folder(repo_id: str) -> Path:
    return hub_cache() / ("models--" + repo_id.replace("/", "--"))


def find_cached(repo_id: str, filename: str, *, revision: str = "main") -> HubFile | None:
    """Look a file up in the Hub cache, without the network and without huggingface_hub.

    Parameters
    ----------
    repo_id, filename : str
    revision : str
        A commit, or a branch as it was when it was last asked for.

    Returns
    -------
    HubFile or None
    """
    folder, commit = _repo_folder(repo_id), revision
    if not _COMMIT.fullmatch(revision):
        try:
            commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
        except OSError:
            return None
    path = folder / "snapshots" / commit / filename
    try:
        there = path.is_file()
    except OSError:  # whoever reads it will be told why that may not be
        there = True
    return HubFile(path, commit) if there else None


def get_promised_sha256(path: Path) -> str | None:
    """Return the sha256 that the Hub promised for a large file of its cache: the blob's name."""
    blob = path.resolve()
    is_promise = blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name)
    return blob.name if is_promise else None


def fetch_hub_file(
    repo_id: str,
    filename: str,
    *,
    revision: str = "main",
    sha256: str | None = None,
    size: int | None = None,
    offline: bool | None = None,
) -> HubFile:
    """Download a file into the Hub cache, in place of one that may be there.

    Parameters
    ----------
    repo_id, filename : str
    revision : str
        A commit or a branch.
    sha256, size : optional
        What the file must be. Without a sha256, the Hub's own ETag is what it is checked against.
    offline : bool, optional
        Overrides ``HF_HUB_OFFLINE``.

    Returns
    -------
    HubFile

    Raises
    ------
    OfflineError
        The network is off.
    DownloadError
        The Hub did not deliver; the message says why and what to do.
    ChecksumError
        What it delivered, twice, is not the file that was asked for; nothing is kept.
    """
    file = HubFileId(get_endpoint(), repo_id, revision, filename)
    if is_offline(offline):
        raise offline_error(file)
    try:
        facts = _retry(lambda: get_facts(file))
        facts = _check_facts(file, facts, sha256, size)
        path = _download(file, facts)
    except Exception as error:
        translated = translate(error, file)
        if translated is error:
            raise
        raise translated from error
    return HubFile(path, facts.commit, downloaded=True)


def _retry(request: Any) -> Any:
    """Try a small request up to three times, if the failure is one that may pass."""
    began = time.monotonic()
    for delay in (*RETRY_DELAYS_S, None):
        try:
            return request()
        except Exception as error:
            late = time.monotonic() - began > RETRY_FOR_S
            if delay is None or late or not is_transient(error):
                raise
            logger.info("trying again in %s s: %s", delay, error)
            time.sleep(delay)


def _check_facts(
    file: HubFileId, facts: HubFacts, sha256: str | None, size: int | None
) -> HubFacts:
    """Refuse another file before a byte of it is downloaded; the pinned values go first."""
    is_hash = _SHA256.fullmatch(facts.etag) is not None
    if sha256 and is_hash and facts.etag != sha256:
        raise ChecksumError(
            f"{file}: {file.endpoint} holds another file than the published one: its sha256 is "
            f"{facts.etag}, expected {sha256}"
        )
    if size is not None and facts.size is not None and facts.size != size:
        raise ChecksumError(
            f"{file}: {file.endpoint} holds another file than the published one: "
            f"{facts.size} bytes, expected {size}"
        )
    etag = sha256 or facts.etag
    return HubFacts(facts.commit, etag, size if size is not None else facts.size)


def _download(file: HubFileId, facts: HubFacts) -> Path:
    """Collect, check, move into place, link into the snapshot of the commit."""
    folder = _repo_folder(file.repo_id)
    blob = folder / "blobs" / facts.etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder, facts.etag):
        if not _is_good(blob, facts):
            _collect_checked(file, facts, blob)
        return _link(folder, blob, file, facts.commit)


@contextmanager
def _lock(folder: Path, etag: str) -> Iterator[None]:
    path = hub_cache() / ".locks" / folder.name / f"{etag}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with hub_utils().WeakFileLock(path):
        yield


def _is_good(path: Path, facts: HubFacts) -> bool:
    """Whether a file has the size and the hash that the Hub promised (git's for small files)."""
    if not path.is_file() or facts.size not in (None, path.stat().st_size):
        return False
    with path.open("rb") as stream:
        if _SHA256.fullmatch(facts.etag):
            return hashlib.file_digest(stream, "sha256").hexdigest() == facts.etag
        if not _COMMIT.fullmatch(facts.etag):
            return facts.size is not None
        # git names a file by the sha1 of "blob <size>\0" and its bytes.
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == facts.etag


def _collect_checked(file: HubFileId, facts: HubFacts, blob: Path) -> None:
    """Download once, and once more from the first byte if what came is not the file."""
    for _ in range(2):
        with claim_partial(blob) as partial:
            _collect(file, facts, partial)
            if _is_good(partial, facts):
                os.replace(partial, blob)
                return
            logger.warning("%s: arrived damaged and was thrown away", file)
            partial.unlink(missing_ok=True)
    raise ChecksumError(
        f"{file}: {file.endpoint} delivered a damaged file twice (its hash is not {facts.etag}); "
        "nothing was kept. Try again later, or from another network"
    )


def _collect(file: HubFileId, facts: HubFacts, partial: Path) -> None:
    """Append to `partial` until it is complete, through broken connections."""
    delays, furthest = list(RETRY_DELAYS_S), _size(partial)
    with _progress(file, facts.size) as bar:
        while not _is_complete(partial, facts.size):
            try:
                _append(file, facts, partial, bar)
                return
            except Exception as error:
                past_end = get_status(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                # Only bytes that never came before count: a server that always ends too early
                # must not keep this loop going.
                if _size(partial) > furthest:
                    delays, furthest = list(RETRY_DELAYS_S), _size(partial)
                if not delays or not (past_end or is_transient(error)):
                    raise
                if past_end:
                    partial.unlink(missing_ok=True)
                logger.info("going on with %s in %s s: %s", file, delays[0], error)
                time.sleep(delays.pop(0))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_complete(partial: Path, size: int | None) -> bool:
    return size is not None and partial.is_file() and partial.stat().st_size >= size


def _append(file: HubFileId, facts: HubFacts, partial: Path, bar: Any) -> None:
    """One request: write what comes, from where the file ends."""
    start = _size(partial)
    with open_body(file, facts.commit, start) as (first, chunks), partial.open("ab") as stream:
        stream.truncate(first)
        bar.update(first - bar.n)
        for chunk in chunks:
            stream.write(chunk)
            bar.update(len(chunk))
            if facts.size is not None and stream.tell() > facts.size:
                return  # more than was promised: the check that follows refuses it
    arrived = _size(partial)
    if facts.size is not None and arrived < facts.size:
        raise CutShortError(f"{arrived} of {facts.size} bytes came")


@contextmanager
def _progress(file: HubFileId, size: int | None) -> Iterator[Any]:
    """A bar on standard error, by huggingface_hub's rules (``HF_HUB_DISABLE_PROGRESS_BARS``)."""
    with hub_utils().tqdm(total=size, unit="B", unit_scale=True, desc=file.repo_id) as bar:
        yield bar


def _link(folder: Path, blob: Path, file: HubFileId, commit: str) -> Path:
    """Make the snapshot's entry for the blob, and note what a branch stands for."""
    pointer = folder / "snapshots" / commit / file.filename
    pointer.parent.mkdir(parents=True, exist_ok=True)
    temporary = pointer.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # no symbolic links here (Windows, some network disks)
        shutil.copyfile(blob, temporary)
    os.replace(temporary, pointer)
    if file.revision != commit:
        _write_ref(folder, file.revision, commit)
    return pointer


def _write_ref(folder: Path, revision: str, commit: str) -> None:
    ref = folder / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit, encoding="utf-8")
