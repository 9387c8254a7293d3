"""How the program ends when it is told to stop: once, soon, and without a traceback."""

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from galmorph.cli.status import INTERRUPTED, TERMINATED, Terminated

GRACE = 5.0
IMPATIENCE = 0.7
"""Seconds in which the work is put away after the first signal, and after a further one."""

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
