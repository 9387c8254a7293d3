"""Warnings of astropy silenced while files are read, from any number of threads."""

from __future__ import annotations

import threading
import warnings


class _Quiet:
    """Silences warnings until the last reader has left.

    A header that breaks the standard in a harmless way is worth no line per file. The filters of
    `warnings` belong to the whole process, so that plain nesting of ``catch_warnings`` in several
    threads could leave them changed for good; here the first one in changes them and the last one
    out restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._catcher = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._catcher = warnings.catch_warnings()
                self._catcher.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._catcher.__exit__(None, None, None)


_shared = _Quiet()


def quiet() -> _Quiet:
    """Context in which warnings are silent, shared by all threads."""
    return _shared
