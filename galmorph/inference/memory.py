"""What the C library does with memory that is given back."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Numbers of mallopt's parameters in glibc, and what they are set to, in bytes.
_SETTINGS = {
    -3: 32 << 20,  # M_MMAP_THRESHOLD, the largest that glibc takes
    -1: 256 << 20,  # M_TRIM_THRESHOLD
}


def keep_freed_memory() -> bool:
    """Let glibc keep the memory of one image for the next.

    By default it hands large blocks back to the system, which clears them page by page when they
    are asked for again. The setting is the whole process's and stays, so that only a program of
    its own should call this.

    Returns
    -------
    bool
        Whether it was set; False where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all([mallopt(parameter, value) == 1 for parameter, value in _SETTINGS.items()])
