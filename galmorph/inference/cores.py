"""How many cores there are for the work, who may use them, and what memory is kept."""

import ctypes
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from galmorph.images.library import SharedSetting

CGROUP = Path("/sys/fs/cgroup")  # where Linux shows a container its limits
# Numbers of mallopt's parameters in glibc, and what they are set to.
_BLOCKS_OF_IMAGES = {
    -3: 32 << 20,  # M_MMAP_THRESHOLD in bytes, the largest that glibc takes
    -1: 256 << 20,  # M_TRIM_THRESHOLD in bytes
}
_EVERYTHING = {
    -4: 0,  # M_MMAP_MAX: no block is mapped by itself
    -1: -1,  # M_TRIM_THRESHOLD: nothing is given back
}


def count_cores() -> int:
    """Cores that this process may use, by its affinity and by the time that its container gets."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _read_quota()
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def _read_quota() -> float | None:
    """Cores' worth of time that the container gets; None where it is not limited."""
    try:
        if (CGROUP / "cpu.max").is_file():  # version 2
            quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        else:
            folder = CGROUP / "cpu"
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        cores = int(quota) / int(period)  # "max", and -1 in version 1: no limit
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _limit_blas() -> Callable[[], None]:
    from threadpoolctl import threadpool_limits

    restore: Callable[[], None] = threadpool_limits(1, user_api="blas").restore_original_limits
    return restore


# While it lasts, numpy's matrix products use one thread. They are small in a run (heads,
# distances); with threads of their own they fight the workers for the cores. It holds for the whole
# process, other threads of the caller included.
keep_numpy_on_one_core = SharedSetting(_limit_blas)


def keep_freed_memory(*, everything: bool = False) -> bool:
    """Let glibc keep the memory of one image, or of one step of training, for the next.

    It hands large blocks back to the system, which clears them page by page when they are asked for
    again. The setting is the whole process's, so that only a program of its own should call this;
    ``everything`` is blocks of any size. False where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = _EVERYTHING if everything else _BLOCKS_OF_IMAGES
    return all([mallopt(parameter, value) == 1 for parameter, value in settings.items()])


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute in one thread: its sums are then the same on every machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
