"""Files of the Hub: in the shared Hub cache already, or fetched into it by huggingface_hub.

The library locks, retries, goes on after a broken connection and moves a file into place whole.
What is added here: the published sha256 is asked for first and checked last, a damaged file is
fetched once more, and whatever goes wrong is one of galmorph's errors.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from galmorph.errors import ChecksumError, DownloadError
from galmorph.weights.environment import get_endpoint, hub_cache, is_offline
from galmorph.weights.hub_errors import (
    HubPlace,
    is_transient,
    offline_error,
    say_endpoint,
    say_failures,
)

__all__ = ["HubFacts", "HubFile", "fetch_hub_file", "find_cached", "get_facts"]

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

RETRY_DELAYS_S = (0.5, 2.0)
"""Seconds before the second and the third try."""

RETRY_FOR_S = 15.0
"""Seconds after which nothing is tried again (the library may have waited itself)."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ETAG = re.compile(r"[A-Za-z0-9_-]{8,128}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in the Hub cache, and its commit (40 hex digits)."""

    path: Path
    revision: str


@dataclass(frozen=True, slots=True)
class HubFacts:
    """Commit, ETag (sha256 of a large file) and length of a file, as the Hub says them."""

    commit: str
    etag: str
    size: int | None


def find_cached(repo_id: str, filename: str, *, revision: str = "main") -> HubFile | None:
    """Look a file up in the Hub cache, without the network and without huggingface_hub.

    `revision` is a commit, or a branch as it was when it was last asked for.
    """
    folder, commit = hub_cache() / ("models--" + repo_id.replace("/", "--")), revision
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
    """The sha256 that the Hub promised for a large file of its cache: the blob's name."""
    blob = path.resolve()
    is_promise = blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name)
    return blob.name if is_promise else None


def get_facts(place: HubPlace) -> HubFacts:
    """Ask for a file's commit, ETag and size; errors are those of huggingface_hub."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    repo_id, filename, revision = place.repo_id, place.filename, place.revision
    url = hf_hub_url(repo_id, filename, revision=revision, endpoint=get_endpoint())
    seen = get_hf_file_metadata(url, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    commit, etag = seen.commit_hash or "", seen.etag or ""
    if not _COMMIT.fullmatch(commit) or not _ETAG.fullmatch(etag):
        raise DownloadError(
            f"{place}: {say_endpoint()} does not answer as a Hub does (no commit or ETag): check "
            "HF_ENDPOINT and the proxy"
        )
    if _COMMIT.fullmatch(revision) and commit != revision:
        raise DownloadError(f"{place}: {say_endpoint()} answered with another commit, {commit}")
    return HubFacts(commit, etag, seen.size)


def fetch_hub_file(
    repo_id: str,
    filename: str,
    *,
    revision: str = "main",
    sha256: str | None = None,
    size: int | None = None,
    offline: bool | None = None,
) -> HubFile:
    """Fetch a file of a commit or a branch into the Hub cache, in place of a damaged one there.

    Without a sha256, the one that the Hub names today is taken. OfflineError, DownloadError and
    ChecksumError say why it cannot be had.
    """
    place = HubPlace(repo_id, filename, revision)
    if is_offline(offline):
        raise offline_error(place)
    with say_failures(place):
        facts = _check_facts(place, _retry(lambda: get_facts(place)), sha256, size)
        stale = find_cached(repo_id, filename, revision=facts.commit)
        if stale is not None and not _is_good(stale.path, facts):
            _remove(stale.path)
        for _ in range(2):
            path = _download(place)
            if path is not None and _is_good(path, facts):
                return HubFile(path, facts.commit)
            _remove(path)
            logger.warning("%s: arrived damaged and was thrown away", place)
    raise ChecksumError(
        f"{place}: {say_endpoint()} delivered a damaged file twice (expected is {facts.etag}, "
        f"{facts.size} bytes); nothing was kept. Try again later, or from another network"
    )


def _retry(request: Callable[[], Answer]) -> Answer:
    """Try up to three times, if the failure is one that may pass."""
    began = time.monotonic()
    for delay in RETRY_DELAYS_S:
        try:
            return request()
        except Exception as error:
            if time.monotonic() - began > RETRY_FOR_S or not is_transient(error):
                raise
            logger.info("trying again in %s s: %s", delay, error)
            time.sleep(delay)
    return request()


def _check_facts(
    place: HubPlace, facts: HubFacts, sha256: str | None, size: int | None
) -> HubFacts:
    """Refuse another file before a byte of it comes; the pinned values go first."""
    another = f"{place}: {say_endpoint()} holds another file than the published one: "
    if sha256 and _SHA256.fullmatch(facts.etag) and facts.etag != sha256:
        raise ChecksumError(f"{another}its sha256 is {facts.etag}, expected {sha256}")
    if size is not None and facts.size not in (None, size):
        raise ChecksumError(f"{another}{facts.size} bytes, expected {size}")
    return HubFacts(facts.commit, sha256 or facts.etag, size if size is not None else facts.size)


def _download(place: HubPlace) -> Path | None:
    """Where huggingface_hub puts the file; None where its length was not the promised one."""
    from huggingface_hub import constants, hf_hub_download

    def download() -> str:
        return hf_hub_download(
            place.repo_id,
            place.filename,
            revision=place.revision,
            cache_dir=hub_cache(),
            endpoint=get_endpoint(),
            etag_timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )

    try:
        return Path(_retry(download))
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # its own check of the length
            return None
        raise


def _remove(path: Path | None) -> None:
    """Take a damaged file out of the cache: the link in the snapshot and what it points to."""
    for part in () if path is None else (path.resolve(), path):
        part.unlink(missing_ok=True)


def _is_good(path: Path, facts: HubFacts) -> bool:
    if facts.size not in (None, path.stat().st_size):
        return False
    if not _SHA256.fullmatch(facts.etag):
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == facts.etag
