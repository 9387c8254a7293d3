"""Exit statuses, and how the program ends when told to stop: once, soon, without a traceback."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from galmorph.errors import (
    GalmorphError,
    MissingExtraError,
    OutputError,
    SurveyError,
    TrainingError,
    UnknownModelError,
    WeightsError,
)

OK = 0
SOME_FAILED = 1  # with --strict some cutouts failed; or the run could not be carried out
USAGE = 2  # the command line asks for what is not there: a file, a column, a head, a device
NOTHING_READ = 3  # not one cutout could be read
INTERRUPTED = 130  # Ctrl-C, as shells have it: 128 and the number of the signal
TERMINATED = 143  # SIGTERM, likewise: schedulers send it at the end of the time of a job


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken as Ctrl-C is."""


def get_status(error: GalmorphError | KeyboardInterrupt) -> int:
    """Exit status for a signal or an error: `USAGE` where another command line would help."""
    if isinstance(error, KeyboardInterrupt):
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    if isinstance(error, UnknownModelError):
        return USAGE
    if isinstance(
        error, WeightsError | TrainingError | MissingExtraError | OutputError | SurveyError
    ):
        return SOME_FAILED
    return USAGE


GRACE = 5.0
IMPATIENCE = 0.7  # seconds to put the work away after the first signal, and a further one
_received: list[int] = []


def heed_signals() -> None:
    """Let the first Ctrl-C or SIGTERM raise, and no further one disturb what is put away then."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _: object) -> None:
    _received.append(number)
    status = TERMINATED if _received[0] == signal.SIGTERM else INTERRUPTED
    first = len(_received) == 1
    timer = threading.Timer(GRACE if first else IMPATIENCE, os._exit, (status,))
    timer.daemon = True
    timer.start()
    if first:
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def leave(status: int) -> NoReturn:
    """Exit; after a signal without waiting for threads, whose libraries would complain."""
    if not _received:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(status)


@contextmanager
def stop_on_signal() -> Iterator[list[int]]:
    """Let the first Ctrl-C or SIGTERM end the run after its step; exit statuses it asks for."""
    asked: list[int] = []
    before: dict[int, Any] = {}

    def remember(number: int, _: object) -> None:
        asked.append(TERMINATED if number == signal.SIGTERM else INTERRUPTED)
        signal.signal(number, before[number])  # the second one stops at once

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, remember)
    except ValueError:  # not in the main thread: signals stay as they are
        pass
    try:
        yield asked
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
