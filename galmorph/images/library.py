"""Libraries that read for us: whether they are there, what they warn of, what they throw."""

import importlib
import threading
import warnings
from collections.abc import Callable, Iterator
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


def import_extra(module: str, extra: str, purpose: str, package: str = "") -> Any:
    """A module of a library that an extra of galmorph brings, perhaps under another name."""
    root = module.partition(".")[0]
    try:
        importlib.import_module(root)
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(package or root, extra, purpose) from error


class SharedSetting:
    """A setting of the whole process, from the first of several runs at once to the last.

    Changing it gives what puts it back.
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


def _silence() -> Callable[[], None]:
    catcher = warnings.catch_warnings()
    catcher.__enter__()
    warnings.simplefilter("ignore")
    return lambda: catcher.__exit__(None, None, None)


quiet = SharedSetting(_silence)  # no warnings until the last reader of any thread has left


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
