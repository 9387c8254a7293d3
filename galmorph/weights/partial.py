"""Unfinished downloads: one file per process, handed on when its process has ended.

A lock keeps two processes from downloading the same file at once. On some network file systems
everybody gets the lock, so correctness does not rest on it: no two live processes ever write to the
same file.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["claim_partial"]

SUFFIX = ".incomplete"
ABANDONED_AFTER_S = 60.0
"""A part that another machine has not touched for so long belongs to nobody."""

_NODE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


@contextmanager
def claim_partial(blob: Path) -> Iterator[Path]:
    """Give this process a file of its own to collect bytes in.

    What an earlier process has left behind is taken over. Whatever is there at the end of the block
    goes back under the common name, so that the next process can go on with it.

    Parameters
    ----------
    blob : Path
        Where the complete file will be.

    Yields
    ------
    Path
        Not there, or with the first bytes of the file.
    """
    own = blob.with_name(f"{blob.name}.{_NODE}.{os.getpid()}.{uuid.uuid4().hex[:8]}{SUFFIX}")
    _take_over(blob, own)
    try:
        yield own
    finally:
        with suppress(FileNotFoundError):
            os.replace(own, blob.with_name(blob.name + SUFFIX))


def _take_over(blob: Path, own: Path) -> None:
    """Rename the longest abandoned part, if there is one; the others are removed."""
    parts = [
        path for path in blob.parent.glob(f"{blob.name}*{SUFFIX}") if _is_abandoned(path, blob)
    ]
    for path in sorted(parts, key=_size):
        with suppress(FileNotFoundError):  # somebody else was faster
            os.replace(path, own)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_abandoned(path: Path, blob: Path) -> bool:
    owner = path.name.removeprefix(blob.name).removesuffix(SUFFIX).strip(".").split(".")
    if len(owner) != 3:
        # Without an owner it was handed on, or left by huggingface_hub.
        return owner == [""]
    if owner[0] == _NODE and os.name != "nt":
        return not _is_alive(int(owner[1]))
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
