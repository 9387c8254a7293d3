"""FITS files as they are opened, and what is said of those that cannot be read."""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

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
            if file is not None and (cut := find_cut(memoryview(_map(file)))):
                reason = f"the FITS is damaged or cut short: {cut}"
            raise UnreadableImageError(reason) from error


class PixelsError(Exception):
    """Whatever was raised while pixels were read."""


def _map(file: str | bytes) -> Any:
    """Bytes of a file, of which a copy is made in memory where they are written to."""
    if isinstance(file, bytes):
        return file
    with open(file, "rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)


def open_fits(file: str | bytes) -> HDUList:
    """Open a FITS file without reading more than its first header, an ordinary one by itself."""
    if (plain := open_plain(file)) is not None:
        return cast("HDUList", plain)
    from astropy.io import fits

    raw = _map(file)
    patches = check_structure(memoryview(raw))
    opened: Any = io.BytesIO(raw) if isinstance(file, bytes) else file
    if patches:
        raw = bytearray(raw) if isinstance(file, bytes) else raw
        for offset, card in patches.items():
            raw[offset : offset + len(card)] = card
        opened = io.BytesIO(raw) if isinstance(file, bytes) else raw
    # memmap=None maps where it can: not where BZERO, BSCALE or BLANK are to be applied
    return fits.open(opened, memmap=None, lazy_load_hdus=True)
