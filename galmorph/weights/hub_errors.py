"""What the Hub or the network answered, in one sentence that says the way out.

`translate` turns what huggingface_hub and its HTTP library raise into `galmorph.errors`.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from galmorph.errors import DownloadError, OfflineError, WeightsError

__all__ = ["CutShortError", "HubFileId", "get_status", "is_transient", "offline_error", "translate"]

TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
"""Answers after which another try may succeed."""

OFFLINE_HINT = (
    "without a network, use bundled weights or a folder that "
    "`galmorph weights download --to DIR` has filled elsewhere"
)


class CutShortError(ConnectionError):
    """The connection ended before the promised number of bytes had come."""


@dataclass(frozen=True, slots=True)
class HubFileId:
    """One file of one commit on one Hub.

    Parameters
    ----------
    endpoint, repo_id, revision, filename : str
    """

    endpoint: str
    repo_id: str
    revision: str
    filename: str

    def __str__(self) -> str:
        return f"{self.filename} of {self.repo_id} at {self.revision[:12]}"


def get_status(error: BaseException) -> int | None:
    """HTTP status of an answer that huggingface_hub refused, None for any other error."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may succeed a little later."""
    status = get_status(error)
    if status is not None:
        return status in TRANSIENT_STATUS
    return _is_transport(error)


def _is_transport(error: BaseException) -> bool:
    """Whether the HTTP library (httpx, httpx2 or requests) or the system lost the connection."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"TransportError", "RequestException", "ConnectionError", "TimeoutError"})


def _is_timeout(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"TimeoutException", "Timeout", "TimeoutError"}) or (
        "ConnectionError" in names and "Read timed out" in str(error)
    )


def _is_unreachable(error: BaseException) -> bool:
    name = type(error).__name__
    if name == "ConnectionError":  # requests has one name for everything; urllib3's is inside
        return not any(word in repr(error) for word in ("ProtocolError", "Read timed out"))
    return name in {"ConnectError", "ConnectTimeout", "ProxyError", "SSLError"}


def translate(error: Exception, file: HubFileId) -> WeightsError:
    """Say what went wrong as one of galmorph's errors.

    Parameters
    ----------
    error : Exception
        From huggingface_hub, from the HTTP library below it, or from the file system.
    file : HubFileId
        What was asked for.

    Returns
    -------
    WeightsError
        `OfflineError` or `DownloadError`; to be raised by the caller.
    """
    if isinstance(error, WeightsError):
        return error
    from huggingface_hub.errors import OfflineModeIsEnabled

    if type(error) is RuntimeError and isinstance(error.__cause__, Exception):
        error = error.__cause__  # huggingface_hub wraps what happens during an upload
    if isinstance(error, OfflineModeIsEnabled):
        return offline_error(file)
    sentence = _say_refusal(error, file) or _say_status(error, file) or _say_failure(error, file)
    return DownloadError(f"{file}: {sentence}")


def offline_error(file: HubFileId) -> OfflineError:
    """Say that a file is not here and that the network may not be used."""
    return OfflineError(
        f"{file}: is not on this machine, and the network is off (HF_HUB_OFFLINE or offline=True); "
        + OFFLINE_HINT
    )


def _say_refusal(error: Exception, file: HubFileId) -> str | None:
    """Answers that name their reason in a header."""
    from huggingface_hub import errors as hub

    page = f"{file.endpoint}/{file.repo_id}"
    if isinstance(error, hub.GatedRepoError):
        return (
            f"the repository is gated: accept its terms at {page} while logged in, then set "
            "HF_TOKEN to a token of that account"
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return (
            f"no such repository at {file.endpoint}, or a private one: check the name, or set "
            "HF_TOKEN to a token that may read it"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return f"the repository has no such revision; its commits are at {page}/commits/main"
    if isinstance(error, hub.EntryNotFoundError):
        return f"the revision has no such file; its files are at {page}/tree/{file.revision}"
    if isinstance(error, hub.FileMetadataError):
        return f"{file.endpoint} does not answer as a Hub does: check HF_ENDPOINT and the proxy"
    return None


def _say_status(error: Exception, file: HubFileId) -> str | None:
    """Answers that are known by their status only."""
    status = get_status(error)
    if status is None:
        return None
    if status == 401:
        return "the token was refused (401): log in again, or set HF_TOKEN to a valid token"
    if status == 403:
        return "access is forbidden (403): HF_TOKEN has no right to read this repository"
    if status == 429:
        return "too many requests (429): wait a few minutes, or set HF_TOKEN for a higher limit"
    if status in TRANSIENT_STATUS:
        return f"{file.endpoint} is out of order ({status}): try again later"
    return f"{file.endpoint} answered with status {status}"


def _say_failure(error: Exception, file: HubFileId) -> str:
    """No answer, or no place to put it."""
    if _is_unreachable(error):
        return f"cannot reach {file.endpoint} ({error}); {OFFLINE_HINT}"
    if _is_timeout(error):
        return (
            f"{file.endpoint} fell silent: try again later, or set HF_HUB_DOWNLOAD_TIMEOUT to more "
            "seconds; what has arrived is kept, and the next try goes on from there"
        )
    if _is_transport(error):
        return (
            f"the connection to {file.endpoint} broke off again and again ({error}); what has "
            "arrived is kept, and the next try goes on from there"
        )
    if isinstance(error, OSError):
        return _say_disk(error)
    return f"{type(error).__name__}: {error}"


def _say_disk(error: OSError) -> str:
    place = error.filename or "the Hub cache"
    if error.errno == errno.ENOSPC:
        return f"the disk of {place} is full: make room, or set HF_HOME to another disk"
    return f"cannot write to {place} ({error.strerror}): set HF_HOME to a folder that you may write"
