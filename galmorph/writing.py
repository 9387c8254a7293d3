"""What the system says where a file cannot be written, as one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galmorph.errors import OutputError

__all__ = ["say_unwritable"]


@contextmanager
def say_unwritable(path: str | Path, way_out: str = "") -> Iterator[None]:
    """Turn what the system says of writing a file into one line.

    Parameters
    ----------
    path : path
        What is written.
    way_out : str
        What can be done, or what is kept.

    Raises
    ------
    OutputError
        In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        reason = f"{path}: cannot be written ({error.strerror or error})"
        raise OutputError(f"{reason}; {way_out}" if way_out else reason) from error
