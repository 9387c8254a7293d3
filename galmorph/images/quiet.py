"""Warnings of astropy silenced while files are read, from any number of threads."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

_lock = threading.Lock()
_depth = 0
_catcher = warnings.catch_warnings()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings until the last reader has left.

    A header that breaks the standard in a harmless way is worth no line per file. The filters of
    `warnings` belong to the whole process, so that plain nesting of ``catch_warnings`` in several
    threads could leave them changed for good; here the first one in changes them and the last one
    out restores them.
    """
    global _depth, _catcher
    with _lock:
        _depth += 1
        if _depth == 1:
            _catcher = warnings.catch_warnings()
            _catcher.__enter__()
            warnings.simplefilter("ignore")
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _catcher.__exit__(None, None, None)
