"""Files of an HDU per galaxy, as galleries and files of stamps are: a row for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from galmorph.errors import ImageError
from galmorph.images.ahead import bring_ahead
from galmorph.images.compressed import COMPRESSION_MAGIC
from galmorph.images.copies import Copied, list_copied
from galmorph.images.files import ImageFile
from galmorph.images.fits_files import open_fits, reading_fits
from galmorph.images.hdus import list_galaxies, split_hdu
from galmorph.images.source import FITS_MAGIC, HDU_ADDRESS, Source, make_printable
from galmorph.images.unpacked import find_unpacked
from galmorph.remote import CONNECTIONS

TINY_SIDE = 8
"""A shorter image beside one of four times its side is a dummy, not a small galaxy."""


def list_hdus(
    sources: Iterable[Source], *, connections: int = CONNECTIONS, within: str | None = None
) -> Iterator[Source]:
    """The same sources, with one of each image of a galaxy in place of a FITS file of several."""
    for source in bring_ahead(sources, connections=connections, within=within):
        if isinstance(source, Copied) and isinstance(source.source, ImageFile):
            inner = replace(source.source, columns=source.columns)
            yield from list_copied(_list_file(inner), source.copy)
        elif isinstance(source, ImageFile) and not split_hdu(source.path)[1]:
            yield from _list_file(source)
        else:
            yield source


def _list_file(source: ImageFile) -> Iterator[Source]:
    found: list[tuple[int, str]] = []
    if source.read_head(8).startswith((*FITS_MAGIC, *COMPRESSION_MAGIC)):
        try:
            file = find_unpacked(source.path)
            with reading_fits(file), open_fits(file) as hdus:
                images, _ = list_galaxies(hdus, limit=None, small_side=TINY_SIDE)
                found = [(number, str(hdu.name).strip()) for number, hdu in images]
        except ImageError:  # whoever reads the file says what is wrong
            found = []
    if len(found) < 2 or not HDU_ADDRESS.fullmatch(f"{source.path}[0]"):
        yield source
        return
    apart = len({name for _, name in found if name}) == len(found)
    for number, name in found:
        object_id = f"{source.object_id}_{make_printable(name) if apart else number}"
        yield ImageFile(object_id, f"{source.path}[{number}]", source.columns)
