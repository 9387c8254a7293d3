"""Exit statuses of the commands."""

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
SOME_FAILED = 1
"""With --strict: some cutouts could not be read. Also: the run could not be carried out."""
USAGE = 2
"""The command line asks for what is not there: a file, a column, a head, a device, a format."""
NOTHING_READ = 3
"""Not one cutout could be read."""
INTERRUPTED = 130
"""Ctrl-C, as shells have it: 128 and the number of the signal."""
TERMINATED = 143
"""SIGTERM, likewise: schedulers send it at the end of the time of a job."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken as Ctrl-C is."""


def get_interrupt_status(error: KeyboardInterrupt) -> int:
    """Exit status for the signal that stops a command."""
    return TERMINATED if isinstance(error, Terminated) else INTERRUPTED


def get_status(error: GalmorphError) -> int:
    """Exit status for an error: `USAGE` where another command line would help."""
    if isinstance(error, UnknownModelError):
        return USAGE
    if isinstance(
        error, WeightsError | TrainingError | MissingExtraError | OutputError | SurveyError
    ):
        return SOME_FAILED
    return USAGE
