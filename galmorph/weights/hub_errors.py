"""What the Hub or the network answered, in one sentence that says the way out."""

from __future__ import annotations

import errno
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from galmorph.errors import DownloadError, OfflineError, WeightsError
from galmorph.weights.environment import get_endpoint, hide_home

__all__ = ["HubPlace", "is_transient", "offline_error", "say_endpoint", "say_failures"]

OUT_OF_ORDER = frozenset({408, 500, 502, 503, 504})
TOO_MANY = 429
"""Answers after which another try may succeed."""

OFFLINE_HINT = (
    "without a network, use bundled weights or a folder that "
    "`galmorph weights download --to DIR` has filled elsewhere"
)


@dataclass(frozen=True, slots=True)
class HubPlace:
    """One file of one commit or branch of a repository."""

    repo_id: str
    filename: str
    revision: str

    def __str__(self) -> str:
        return f"{self.filename} of {self.repo_id} at {self.revision[:12]}"


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
        f"{place}: is not on this machine, and the network is off (HF_HUB_OFFLINE or "
        f"offline=True); {OFFLINE_HINT}"
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
    """No answer."""
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
    place = hide_home(error.filename or "the Hub cache")
    if error.errno == errno.ENOSPC:
        return f"the disk of {place} is full: make room, or set HF_HOME to another disk"
    return f"cannot write to {place} ({error.strerror}): set HF_HOME to a folder that you may write"
