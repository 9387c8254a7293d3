"""One image in a file of its own."""

import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from galmorph.errors import (
    ImageError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.compressed import find_unpacked
from galmorph.images.cutout import Cutout
from galmorph.images.hdus import split_hdu
from galmorph.images.memory import Copied
from galmorph.images.raster import RASTER_SUFFIXES, decode_image
from galmorph.images.source import (
    COMPRESSION_SUFFIXES,
    FITS_MAGIC,
    Source,
    make_object_id,
    make_printable,
)
from galmorph.remote import check_named, fetch, is_url
from galmorph.settings import ReadOptions

FITS_SUFFIXES = (".fits", ".fit", ".fts")
IMAGE_SUFFIXES = RASTER_SUFFIXES + tuple(  # what is taken from a folder
    suffix + end for suffix in FITS_SUFFIXES for end in ("", *COMPRESSION_SUFFIXES)
)
MAGIC_BYTES = 8
# Opening a FIFO without it would wait for a writer for ever.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that holds one image, or an HDU of a FITS file, ``path.fits[SCI]``."""

    object_id: str
    path: str
    columns: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str, columns: Mapping[str, Any] | None = None) -> Self:
        """The file of that path, named after it."""
        return cls(make_object_id(path), path, columns or {})

    @property
    def address(self) -> str:
        """The path as the operating system knows it."""
        return self.path

    def read(self, options: ReadOptions) -> Cutout:
        """Open once, look at the first bytes, and read the rest only where it is needed."""
        if is_url(self.path):
            return self.bring(options.within).read(options)
        if not self.path:
            raise UnreadableImageError("no file is named here")
        file, hdu = split_hdu(self.path)
        with open_regular(file, options.within) as (descriptor, size):
            if not hdu and not os.pread(descriptor, MAGIC_BYTES, 0).startswith(FITS_MAGIC):
                return decode_image(read_bytes(descriptor, size, options), options)
        from galmorph.images.fits import read_fits, read_part

        if hdu:
            return read_part(find_unpacked(file), replace(options, hdu=hdu))
        return read_fits(self.path, options)

    def read_head(self, count: int) -> bytes:
        return read_head(split_hdu(self.path)[0], count)

    def bring(self, within: str | None, stopped: threading.Event | None = None) -> Source:
        """A copy of what a URL names, or an HDU of it; any other file stays where it is."""
        if not is_url(self.path):
            return self
        check_named(self.path, within)
        file, _ = split_hdu(self.path)
        copy = fetch(file, stopped)
        inner = ImageFile(self.object_id, copy.path + self.path[len(file) :])
        return Copied(self.object_id, inner, copy, self.columns)


@contextmanager
def open_regular(path: str, within: str | None = None) -> Iterator[tuple[int, int]]:
    """Descriptor and size of a regular file, within that folder, links followed."""
    if "\0" in path:
        raise UnreadableImageError("the file cannot be opened (a null byte in its name)")
    with ExitStack() as stack:
        try:
            check_within(path, within)
            descriptor = os.open(path, OPEN_FLAGS)
            stack.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise UnsupportedImageError(f"this is {kind}")
            if not status.st_size:
                raise UnreadableImageError("the file is empty")
            yield descriptor, status.st_size
        except ImageError:
            raise
        except OSError as error:
            raise UnreadableImageError(_explain(error)) from error


def check_within(path: str, within: str | None) -> None:
    """Refuse a file outside a folder, where one is given; links are followed."""
    if within is not None:
        real = os.path.realpath(within)
        if os.path.commonpath((real, os.path.realpath(path))) != real:
            raise UnsupportedImageError("this file lies outside the folder of --within")


def read_head(path: str, count: int, offset: int = 0) -> bytes:
    """First bytes of a regular file, or those after an offset; b"" where they cannot be had."""
    try:
        with open_regular(path) as (descriptor, _):
            return os.pread(descriptor, count, offset)
    except OSError:  # whoever reads the file says what is wrong
        return b""


def read_bytes(descriptor: int, size: int, options: ReadOptions, offset: int = 0) -> bytes:
    """So many bytes from an offset on, or all that there are."""
    if size > options.max_bytes:
        raise ImageTooLargeError(f"{size} bytes are more than max_pixels allows for")
    data = os.pread(descriptor, size, offset)
    while 0 < len(data) < size and (
        part := os.pread(descriptor, size - len(data), offset + len(data))
    ):
        data += part
    return data


def _explain(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "this file may not be read (no permission)"
    return f"the file cannot be opened ({error.strerror or make_printable(str(error))})"
