"""How many cores there are for the work, and who may use them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

__all__ = ["count_cores", "keep_numpy_on_one_core"]


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_numpy_on_one_core() -> AbstractContextManager[object]:
    """While it lasts, numpy's matrix products use one thread.

    They are small here (heads, distances). With threads of their own they fight the workers for
    the cores: measured on two cores, that took a third off the speed of a whole run.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
