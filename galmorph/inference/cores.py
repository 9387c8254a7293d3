"""How many cores there are for the work, and who may use them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SharedSetting", "count_cores", "keep_numpy_on_one_core"]


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class SharedSetting:
    """A setting of the whole process, changed by the first of several runs at once.

    Parameters
    ----------
    change : callable
        Changes the setting, and returns what puts it back after the last of the runs.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._runs = 0
        self._restore: Callable[[], None] = lambda: None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the setting for one run."""
        with self._lock:
            if self._runs == 0:
                self._restore = self._change()
            self._runs += 1
        try:
            yield
        finally:
            with self._lock:
                self._runs -= 1
                if self._runs == 0:
                    self._restore()


def _limit_blas() -> Callable[[], None]:
    from threadpoolctl import threadpool_limits

    restore: Callable[[], None] = threadpool_limits(1, user_api="blas").restore_original_limits
    return restore


keep_numpy_on_one_core = SharedSetting(_limit_blas)
"""While it lasts, numpy's matrix products use one thread.

They are small in a run (heads, distances); with threads of their own they fight the workers for the
cores. It holds for the whole process, other threads of the caller included.
"""
