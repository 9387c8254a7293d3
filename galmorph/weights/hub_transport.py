"""One request to the Hub: the facts of a file, and its bytes from a stated position on.

huggingface_hub's session is used, so that tokens, proxies, certificates and a client of the user's
own count. It is a session of httpx, of httpx2 or, before huggingface_hub 1.0, of requests.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from galmorph.errors import DownloadError
from galmorph.weights.environment import get_timeout
from galmorph.weights.hub_errors import HubFileId

__all__ = ["HubFacts", "get_facts", "hub_utils", "open_body"]

CHUNK_BYTES = 1 << 14
"""Bytes per read: small enough that little is lost when a connection breaks off."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[A-Za-z0-9_-]{8,128}")


@dataclass(frozen=True, slots=True)
class HubFacts:
    """What the Hub says of a file before it is downloaded.

    Parameters
    ----------
    commit : str
        40 hex digits: what a branch name stood for.
    etag : str
        sha256 (64 hex digits) of a large file, git's sha1 (40) of a small one.
    size : int or None
        Bytes.
    """

    commit: str
    etag: str
    size: int | None


def hub_utils() -> Any:
    """``huggingface_hub.utils``, whose names its own type hints do not export."""
    return importlib.import_module("huggingface_hub.utils")


def get_facts(file: HubFileId) -> HubFacts:
    """Ask for a file's commit, ETag and size (one HEAD request).

    Raises
    ------
    DownloadError
        The server does not answer as a Hub does.
    Exception
        Whatever huggingface_hub raises; see `galmorph.weights.hub_errors.translate`.
    """
    from huggingface_hub import get_hf_file_metadata

    seen = get_hf_file_metadata(_make_url(file, file.revision), timeout=get_timeout())
    commit, etag = seen.commit_hash or "", seen.etag or ""
    pinned = _COMMIT.fullmatch(file.revision) is not None
    # Both become names of files in the cache.
    if not _COMMIT.fullmatch(commit) or not _ETAG.fullmatch(etag):
        raise DownloadError(
            f"{file}: {file.endpoint} does not answer as a Hub does (no commit or ETag): check "
            "HF_ENDPOINT and the proxy"
        )
    if pinned and commit != file.revision:
        raise DownloadError(f"{file}: {file.endpoint} answered with another commit, {commit}")
    return HubFacts(commit, etag, seen.size)


def _make_url(file: HubFileId, revision: str) -> str:
    where = f"{file.repo_id}/resolve/{quote(revision, safe='')}/{quote(file.filename)}"
    return f"{file.endpoint}/{where}"


@contextmanager
def open_body(file: HubFileId, commit: str, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Open the bytes of a file from `start` on.

    Parameters
    ----------
    file : HubFileId
    commit : str
        40 hex digits.
    start : int
        First byte that is wanted.

    Yields
    ------
    first : int
        First byte that is sent: `start`, or 0 where the server cannot send a part.
    chunks : iterator of bytes
    """
    hub = hub_utils()
    headers = hub.build_hf_headers()
    headers["Accept-Encoding"] = "identity"
    if start:
        headers["Range"] = f"bytes={start}-"
    with _send(hub.get_session(), _make_url(file, commit), headers) as response:
        hub.hf_raise_for_status(response)
        yield (start if response.status_code == 206 else 0), _iterate(response)


@contextmanager
def _send(session: Any, url: str, headers: dict[str, str]) -> Iterator[Any]:
    """GET without reading the body; the session drops the token when it is sent to another host."""
    if callable(getattr(session, "stream", None)):  # a mere flag in requests
        request = session.stream(
            "GET", url, headers=headers, timeout=get_timeout(), follow_redirects=True
        )
    else:
        request = session.get(url, headers=headers, timeout=get_timeout(), stream=True)
    with request as response:
        yield response


def _iterate(response: Any) -> Iterator[bytes]:
    # httpx's iter_bytes(n) would hold back up to n bytes, which a broken connection then loses.
    if hasattr(response, "iter_bytes"):
        yield from response.iter_bytes()
    else:
        yield from response.iter_content(CHUNK_BYTES)
