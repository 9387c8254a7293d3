"""What the C library does with memory that is given back."""

import ctypes
import sys

# Numbers of mallopt's parameters in glibc, and what they are set to.
_BLOCKS_OF_IMAGES = {
    -3: 32 << 20,  # M_MMAP_THRESHOLD in bytes, the largest that glibc takes
    -1: 256 << 20,  # M_TRIM_THRESHOLD in bytes
}
_EVERYTHING = {
    -4: 0,  # M_MMAP_MAX: no block is mapped by itself
    -1: -1,  # M_TRIM_THRESHOLD: nothing is given back
}


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
