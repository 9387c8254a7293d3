"""Files that are written whole or not at all, and what the system says where they cannot be."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from galmorph.errors import OutputError
from galmorph.remote import find_place, is_url, send


@contextmanager
def say_unwritable(path: str | Path, way_out: str = "") -> Iterator[None]:
    """Turn what the system says of writing a file into an `OutputError` of one line."""
    try:
        yield
    except OSError as error:
        reason = f"{path}: cannot be written ({error.strerror or error})"
        raise OutputError(f"{reason}; {way_out}" if way_out else reason) from error


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file, or leave the one that was there; a link stays one."""
    target = Path(os.path.realpath(find_place(path)))
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        with say_unwritable(path):
            if isinstance(path, str) and is_url(path):
                temporary.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(data)
                send(temporary, path)
            else:
                temporary.write_bytes(data)
                move_into_place(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink()


def move_into_place(temporary: Path, target: Path) -> None:
    """Give a file its final name once it is on the disk."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(target)
    sync_folder(target)


def sync_folder(path: Path) -> None:
    """Wait until the folder of a file knows its name; not every system can."""
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
