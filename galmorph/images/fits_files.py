"""FITS files as they are opened, and what is said of those that cannot be read."""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from galmorph.errors import GalmorphError, UnreadableImageError
from galmorph.images.fits_structure import check_structure, find_cut
from galmorph.images.plain_fits import open_plain
from galmorph.images.quiet import quiet

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

STRANGE_PIXELS = (
    "the pixels of the FITS cannot be read: they are damaged, or not as its header says"
)
STRANGE_HEADER = "the header of the FITS is against the standard, so that it cannot be read"


@contextmanager
def reading_fits(file: str | bytes | None = None) -> Iterator[None]:
    """Turn whatever astropy says about a damaged file into one kind of error, without warnings."""
    with quiet():
        try:
            yield
        except (GalmorphError, MemoryError):
            raise
        # astropy answers a damaged file with nearly any exception; all of it means the same.
        except Exception as error:
            reason = STRANGE_PIXELS if isinstance(error, PixelsError) else STRANGE_HEADER
            if file is not None and (cut := find_cut(_open_stream(file))):
                reason = f"the FITS is damaged or cut short: {cut}"
            raise UnreadableImageError(reason) from error


class PixelsError(Exception):
    """Whatever was raised while pixels were read."""


def _open_stream(file: str | bytes) -> BinaryIO:
    return io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb")


def open_fits(file: str | bytes) -> HDUList:
    """Open a FITS file without reading more than its first header, an ordinary one by itself."""
    if (plain := open_plain(file)) is not None:
        return cast("HDUList", plain)
    from astropy.io import fits

    opened: Any = io.BytesIO(file) if isinstance(file, bytes) else file
    with _open_stream(file) as stream:
        patches = check_structure(stream)
        if patches:  # in a copy of their pages in memory
            held = isinstance(file, bytes)
            opened = (
                bytearray(cast("bytes", file))
                if held
                else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
            )
            for offset, card in patches.items():
                opened[offset : offset + len(card)] = card
            opened = io.BytesIO(opened) if held else opened
    # memmap=None maps where it can: not where BZERO, BSCALE or BLANK are to be applied
    return fits.open(opened, memmap=None, lazy_load_hdus=True)
