"""What ``galmorph pretrain`` prints while it trains, and how a signal stops it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from galmorph.cli.status import INTERRUPTED, TERMINATED
from galmorph.cli.summary import format_duration

if TYPE_CHECKING:
    from galmorph.training.loop import StepReport

TERMINAL_INTERVAL_S = 0.2
PLAIN_INTERVAL_S = 10.0
"""Seconds between two lines where standard error is a file."""


class StepLine:
    """One line of progress, rewritten on a terminal."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.last = 0.0
        self.unfinished = False

    def __call__(self, report: StepReport) -> None:
        """Say how far it is, where it is time to."""
        now = time.monotonic()
        interval = TERMINAL_INTERVAL_S if self.terminal else PLAIN_INTERVAL_S
        at_end = report.step == report.steps
        if report.knn is None and not at_end and now - self.last < interval:
            return
        self.last = now
        line = f"step {report.step}/{report.steps}, loss {report.loss:.4f}"
        if not at_end:
            line += f", {format_duration(report.seconds_left)} left"
        if report.knn is not None:
            line += f", kNN {report.knn:.3f} on training images"
        keep = report.knn is not None or at_end or not self.terminal
        sys.stderr.write(f"\r\x1b[K{line}" if self.terminal else line)
        sys.stderr.write("\n" if keep else "")
        sys.stderr.flush()
        self.unfinished = not keep

    def close(self) -> None:
        """End a line that was to be rewritten, so that what follows has its own."""
        if self.unfinished:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self.unfinished = False


class Stop:
    """What a signal has asked for."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Whether the run is to end."""
        return self.signal is not None

    @property
    def status(self) -> int:
        """Exit status of a run that was stopped."""
        return TERMINATED if self.signal == signal.SIGTERM else INTERRUPTED


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Let the first Ctrl-C or SIGTERM end the run after its step, with a checkpoint."""
    stop = Stop()
    before: dict[int, Any] = {}

    def remember(number: int, _: object) -> None:
        stop.signal = number
        signal.signal(number, before[number])  # the second one stops at once

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, remember)
    except ValueError:  # not in the main thread: signals stay as they are
        pass
    try:
        yield stop
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
