"""Files of the Hub, in the shared cache, checked by sha256; errors are galmorph's.

Environment variables are read at every call: a notebook may set them late.
"""

import errno
import hashlib
import importlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from galmorph.errors import ChecksumError, DownloadError, OfflineError, WeightsError
from galmorph.origin import hide_home

DEFAULT_ENDPOINT = "https://huggingface.co"

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
RETRY_DELAYS_S = (0.5, 2.0)  # seconds before the second and the third try
RETRY_FOR_S = 15.0  # after which nothing is tried again
OUT_OF_ORDER = frozenset({408, 500, 502, 503, 504})
TOO_MANY = 429  # these, and being out of order, may pass
OFFLINE_HINT = (
    "without a network, use bundled weights or a folder that "
    "`galmorph weights download --to DIR` has filled elsewhere"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ETAG = re.compile(r"[A-Za-z0-9_-]{8,128}")


def _expand(path: str) -> Path:
    expanded = Path(os.path.expandvars(path))
    try:
        return expanded.expanduser()
    except RuntimeError:  # no HOME, and a user that the system does not know, as in containers
        user = os.getuid() if hasattr(os, "getuid") else "user"
        return Path(tempfile.gettempdir(), f"galmorph-{user}", *expanded.parts[1:])


def is_offline() -> bool:
    """Whether the network is off, by the Hub's variables."""
    variables = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in _TRUE for name in variables)


def get_endpoint() -> str:
    """Address of the Hub: ``HF_ENDPOINT`` or huggingface.co, without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def hub_cache() -> Path:
    """Folder of the Hub cache, by ``HF_HUB_CACHE``, ``HF_HOME`` and ``XDG_CACHE_HOME``."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return _expand(folder)
    if home := os.environ.get("HF_HOME"):
        return _expand(home) / "hub"
    return _expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def weights_dir() -> Path | None:
    """Folder that ``galmorph weights download --to`` has filled: ``GALMORPH_WEIGHTS_DIR``."""
    folder = os.environ.get("GALMORPH_WEIGHTS_DIR")
    return _expand(folder) if folder else None


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in the Hub cache, and its commit (40 hex digits)."""

    path: Path
    revision: str


@dataclass(frozen=True, slots=True)
class HubPlace:
    """One file of one commit or branch of a repository."""

    repo_id: str
    filename: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"{self.filename} of {self.repo_id} at {self.revision[:12]}"


@dataclass(frozen=True, slots=True)
class HubFacts:
    """Commit, ETag (sha256 of a large file) and length of a file, as the Hub says them."""

    commit: str
    etag: str
    size: int | None


def find_cached(repo_id: str, filename: str, *, revision: str = "main") -> HubFile | None:
    """Look a file up in the Hub cache, without the network and without huggingface_hub."""
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
    place: HubPlace, *, sha256: str | None = None, size: int | None = None
) -> HubFile:
    """Fetch a file of a commit or a branch into the Hub cache, in place of a damaged one there."""
    if is_offline():
        raise offline_error(place)
    with say_failures(place):
        facts = _check_facts(place, _retry(lambda: get_facts(place)), sha256, size)
        stale = find_cached(place.repo_id, place.filename, revision=facts.commit)
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


def say_endpoint() -> str:
    """Address of the Hub without a name and a password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", get_endpoint())


def _import_http() -> Any:
    """The HTTP library below huggingface_hub: httpx, or httpx2 since 2.0."""
    from huggingface_hub.errors import HfHubHTTPError

    return importlib.import_module(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may succeed a little later."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in OUT_OF_ORDER | {TOO_MANY}
    return isinstance(error, _import_http().TransportError)


def offline_error(place: HubPlace) -> OfflineError:
    """Say that a file is not here and that the network may not be used."""
    return OfflineError(
        f"{place}: is not on this machine, and the network is off (HF_HUB_OFFLINE); {OFFLINE_HINT}"
    )


@contextmanager
def say_failures(place: HubPlace) -> Iterator[None]:
    """Turn what huggingface_hub, its HTTP library and the file system raise into WeightsError."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

        # The library wraps what it met before a download, or during an upload.
        wraps = isinstance(error, LocalEntryNotFoundError) or type(error) in (
            RuntimeError,
            ValueError,
        )
        cause = error.__cause__ if wraps and isinstance(error.__cause__, Exception) else error
        if isinstance(cause, OfflineModeIsEnabled):
            raise offline_error(place) from error
        sentence = _say_answer(cause, place) or _say_silence(cause) or _say_disk(cause)
        raise DownloadError(f"{place}: {sentence}") from error


def _say_answer(error: Exception, place: HubPlace) -> str | None:
    """What the Hub refused, by its reason or else by its status."""
    from huggingface_hub import errors as hub

    page = f"{say_endpoint()}/{place.repo_id}"
    if isinstance(error, hub.GatedRepoError):
        return (
            f"the repository is gated: accept its terms at {page} while logged in, then set "
            "HF_TOKEN to a token of that account"
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return (
            f"no such repository at {say_endpoint()}, or a private one: check the name, or set "
            "HF_TOKEN to a token that may read it"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return f"the repository has no such revision; its commits are at {page}/commits/main"
    if isinstance(error, hub.EntryNotFoundError):
        return f"the revision has no such file; its files are at {page}/tree/{place.revision}"
    if not isinstance(error, hub.HfHubHTTPError):
        return None
    status = error.response.status_code
    if status in OUT_OF_ORDER:
        return f"{say_endpoint()} is out of order ({status}): try again later"
    return {
        401: "the token was refused (401): log in again, or set HF_TOKEN to a valid token",
        403: "access is forbidden (403): HF_TOKEN has no right to read this repository",
        TOO_MANY: "too many requests (429): wait a few minutes, or set HF_TOKEN for a higher limit",
    }.get(status, f"{say_endpoint()} answered with status {status}")


def _say_silence(error: Exception) -> str | None:
    http = _import_http()
    if isinstance(error, (http.ConnectError, http.ConnectTimeout, http.ProxyError)):
        return f"cannot reach {say_endpoint()} ({error}); {OFFLINE_HINT}"
    if isinstance(error, http.TimeoutException):
        return (
            f"{say_endpoint()} fell silent: try again later, or set HF_HUB_DOWNLOAD_TIMEOUT to "
            "more seconds"
        )
    if isinstance(error, http.TransportError):
        return f"the connection to {say_endpoint()} broke off again and again ({error})"
    return None


def _say_disk(error: Exception) -> str:
    """No place to put it; or what nobody thought of, by its name."""
    if not isinstance(error, OSError) or error.errno is None:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    place = hide_home(str(error.filename or "the Hub cache"))
    if error.errno == errno.ENOSPC:
        return f"the disk of {place} is full: make room, or set HF_HOME to another disk"
    return f"cannot write to {place} ({error.strerror}): set HF_HOME to a folder that you may write"
