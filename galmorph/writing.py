"""Files that are written whole or not at all, and what the system says where they cannot be."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from galmorph.errors import OutputError
from galmorph.remote import is_url, send


@contextmanager
def say_unwritable(path: str | Path, way_out: str = "") -> Iterator[None]:
    """Turn what the system says of writing a file into an `OutputError` of one line."""
    try:
        yield
    except OSError as error:
        reason = f"{path}: cannot be written ({error.strerror or error})"
        raise OutputError(f"{reason}; {way_out}" if way_out else reason) from error


def write_whole(path: str | Path, data: bytes, way_out: str = "") -> None:
    """Write a file or URL, or leave what was there; a link stays one."""
    with say_unwritable(path, way_out):
        if isinstance(path, str) and is_url(path):
            with TemporaryDirectory() as folder:
                (place := Path(folder, "file")).write_bytes(data)
                send(place, path)
        else:
            with put_in_place(Path(os.path.realpath(path))) as temporary:
                temporary.write_bytes(data)


@contextmanager
def put_in_place(target: Path) -> Iterator[Path]:
    """Where to write a file beside its place, which it takes once it is whole."""
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        move_into_place(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink()


def move_into_place(temporary: Path, target: Path) -> None:
    """Give a file its final name once it is on the disk, and wait until its folder is."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(target)
    with suppress(OSError):  # not every system can wait for a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
