"""Compressed mosaics, unpacked once to a temporary file that all cutouts are read from.

gzip, bzip2 and xz can only be read from their start, so a cutout out of the middle of such a file
would cost the unpacking of half of it. The temporary file is removed when the process ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from typing import IO, Any

from galmorph.errors import ImageError, ImageTooLargeError, UnreadableImageError
from galmorph.images.compressed import Unpacker, find_method
from galmorph.images.source import FITS_MAGIC

MAX_UNPACKED_BYTES = 32 << 30
"""Largest unpacked mosaic: 92,000 x 92,000 float32 pixels."""

KEPT_FREE_BYTES = 1 << 30
"""What is left free on the disk in any case."""

CHUNK_BYTES = 16 << 20
NAME = "mosaic.fits"
_lock = threading.Lock()
_folders: dict[tuple[str, int, int], tempfile.TemporaryDirectory[str]] = {}


def find_unpacked(path: str) -> str:
    """Give the file itself, or what is in it, where it is compressed."""
    try:
        with open(path, "rb") as file:
            method = find_method(file.read(8))
            if not method:
                return path
            status = os.fstat(file.fileno())
            key = (os.path.realpath(path), status.st_mtime_ns, status.st_size)
            with _lock:
                if key not in _folders:
                    file.seek(0)
                    _folders[key] = _unpack(Unpacker(file, method))
                return os.path.join(_folders[key].name, NAME)
    except OSError as error:
        if isinstance(error, ImageError):
            raise
        raise UnreadableImageError(f"cannot be unpacked ({error.strerror})") from error


def _unpack(stream: Unpacker) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="galmorph_")
    try:
        with open(os.path.join(folder.name, NAME), "wb") as out:
            _copy(stream, out)
    except BaseException:
        folder.cleanup()
        raise
    return folder


def _copy(stream: Unpacker, out: IO[Any]) -> None:
    written = 0
    while chunk := stream.read(CHUNK_BYTES):
        if not written and not chunk.startswith(FITS_MAGIC):
            raise UnreadableImageError("what is compressed in it is no FITS")
        written += len(chunk)
        if written > MAX_UNPACKED_BYTES:
            raise ImageTooLargeError(f"more than {MAX_UNPACKED_BYTES} bytes when unpacked")
        if shutil.disk_usage(out.name).free < KEPT_FREE_BYTES + len(chunk):
            raise ImageTooLargeError(
                f"no room in {tempfile.gettempdir()} to unpack it; set TMPDIR to a larger disk, or "
                "unpack it yourself"
            )
        out.write(chunk)
