"""Libraries that read for us: whether they are there, what they warn of, what they throw."""

import importlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from galmorph.errors import (
    GalmorphError,
    ImageTooLargeError,
    MissingExtraError,
    UnreadableImageError,
)
from galmorph.settings import ReadOptions

MAX_BYTES = ReadOptions().max_bytes  # of what is unpacked where no options are at hand
_lock = threading.Lock()
_readers: "list[warnings.catch_warnings[None]]" = []  # the last to leave `quiet` restores them


def import_extra(module: str, extra: str, purpose: str, package: str = "") -> Any:
    """A module of a library that an extra of galmorph brings, perhaps under another name."""
    root = module.partition(".")[0]
    try:
        importlib.import_module(root)
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(package or root, extra, purpose) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings until the last reader of any thread has left: filters are of the process."""
    with _lock:
        catcher = warnings.catch_warnings() if not _readers else _readers[0]
        if not _readers:
            catcher.__enter__()
            warnings.simplefilter("ignore")
        _readers.append(catcher)
    try:
        yield
    finally:
        with _lock:
            _readers.pop()
            if not _readers:
                catcher.__exit__(None, None, None)


@contextmanager
def reading(reason: str) -> Iterator[None]:
    """Whatever a library throws at a damaged file means the same, and is this sentence."""
    try:
        yield
    except (GalmorphError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError(reason) from error


def check_pixels(count: int, what: str, options: ReadOptions) -> None:
    """Refuse more pixels than an image may have."""
    if count > options.max_pixels:
        raise ImageTooLargeError(
            f"{what} is more than max_pixels = {options.max_pixels}; cut the galaxy out (center "
            "and fov, or --mosaic with a catalogue), or raise the bound"
        )
