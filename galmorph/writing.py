"""Files that are written whole or not at all, and what the system says where they cannot be."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from galmorph.errors import OutputError

__all__ = ["say_unwritable", "write_whole"]


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


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file, or leave the one that was there; a link stays one.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        with say_unwritable(path):
            temporary.write_bytes(data)
            os.replace(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink()
