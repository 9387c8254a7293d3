"""Progress of a long run, on standard error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from galmorph.images.source import Source

__all__ = ["Counter", "Progress", "format_duration"]

TERMINAL_INTERVAL_S = 0.2
PLAIN_INTERVAL_S = 10.0
"""Between two lines where standard error is a file: enough to see life, few enough to read."""


def format_duration(seconds: float) -> str:
    """Seconds as people say them.

    Examples
    --------
    >>> format_duration(7), format_duration(75), format_duration(7300)
    ('7 s', '1:15 min', '2:01 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


class Counter:
    """Count sources in a thread of its own, while the work goes on.

    Parameters
    ----------
    items : iterable of Source
        What to count; listing it must have no effect on the work. At the first that carries its
        bytes it is given up: all of the container would be read twice.

    Attributes
    ----------
    total : int or None
        None until everything is counted.
    """

    def __init__(self, items: Iterable[Source]) -> None:
        self.total: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count, args=(items,), daemon=True)
        self._thread.start()

    def _count(self, items: Iterable[Source]) -> None:
        from galmorph.images.memory import InMemory

        count = 0
        try:
            for source in items:
                if self._stop.is_set() or isinstance(source, InMemory):
                    return
                count += 1
        except Exception:  # whatever it is, the run meets it too and says so
            return
        self.total = count

    def stop(self) -> None:
        """Give up counting, and wait for the thread."""
        self._stop.set()
        self._thread.join()


class Progress:
    """Done, total, images per second, time left and failures, in one line.

    Parameters
    ----------
    stream : text file
        Usually standard error. A line is rewritten on a terminal; elsewhere a new one is written
        now and then.
    get_total : callable
        Gives the number of inputs, None while it is not known.
    start : int
        Inputs that an earlier run has done.
    clock : callable
        Seconds, for tests.
    """

    def __init__(
        self,
        stream: TextIO,
        get_total: Callable[[], int | None],
        *,
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._get_total = get_total
        self._start = start
        self._clock = clock
        self._began = self._last = clock()
        self._terminal = stream.isatty()

    def update(self, done: int, failed: int) -> None:
        """Say how far it is, where it is time to.

        Parameters
        ----------
        done, failed : int
            So far, those of an earlier run included.
        """
        now = self._clock()
        interval = TERMINAL_INTERVAL_S if self._terminal else PLAIN_INTERVAL_S
        if now - self._last < interval:
            return
        self._last = now
        line = self.describe(done, failed)
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def describe(self, done: int, failed: int) -> str:
        """The line itself."""
        total, elapsed = self._get_total(), self._clock() - self._began
        rate = (done - self._start) / elapsed if elapsed > 0 else 0.0
        parts = [f"{done}/{total}" if total is not None else f"{done}", f"{rate:.1f} images/s"]
        if total is not None and rate > 0:
            parts.append(f"{format_duration(max(total - done, 0) / rate)} left")
        parts.append(f"{failed} failed")
        return ", ".join(parts)

    def close(self) -> None:
        """Take the line off the terminal."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
