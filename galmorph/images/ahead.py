"""Sources that lie elsewhere, brought ahead of the work; files of an HDU per galaxy."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

from galmorph.errors import ImageError, NotAnsweredError, SurveyError
from galmorph.images.compressed import COMPRESSION_MAGIC, find_unpacked
from galmorph.images.files import ImageFile
from galmorph.images.fits_files import open_fits, reading_fits
from galmorph.images.hdus import list_galaxies, split_hdu
from galmorph.images.memory import Copied, list_copied
from galmorph.images.source import FITS_MAGIC, HDU_ADDRESS, Lost, Source, make_printable
from galmorph.remote import CONNECTIONS, is_url

AHEAD = 16  # sources under way for each connection
MAX_SILENT = 50  # so many in a row that did not come: the service is down, or the name is wrong
TINY_SIDE = 8  # a shorter image beside one of four times its side is a dummy, not a small galaxy


def bring_ahead(
    sources: Iterable[Source], *, connections: int = CONNECTIONS, within: str | None = None
) -> Iterator[Source]:
    """The same sources in order, each once it is here or given up; no other is listed ahead."""
    stopped, pending, silent = threading.Event(), deque[Source | Future[Source]](), 0
    pool, bound = ThreadPoolExecutor(connections, "galmorph-ahead"), AHEAD * connections
    listed = iter(sources)
    try:
        while True:
            while len(pending) < bound and (not pending or isinstance(pending[0], Future)):
                if (source := next(listed, None)) is None:
                    break
                elsewhere = hasattr(source, "bring") and is_url(source.address)
                future = pool.submit(_bring, source, within, stopped) if elsewhere else None
                pending.append(future or source)
            if not pending:
                return
            first = pending.popleft()
            source = first.result() if isinstance(first, Future) else first
            lost = isinstance(source, Lost) and type(source.error) is NotAnsweredError
            silent = silent + 1 if lost else 0
            if silent == MAX_SILENT and isinstance(source, Lost):
                raise SurveyError(
                    f"{silent} cutouts in a row were not answered ({source.error}); go on later "
                    "with --resume, which keeps what has come"
                )
            yield source
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _bring(source: Source, within: str | None, stopped: threading.Event) -> Source:
    try:
        brought: Source = cast("Any", source).bring(within, stopped)
        return brought
    except ImageError as error:
        return Lost(source.object_id, source.address, error, source.columns)


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
            with reading_fits(file), closing(open_fits(file)) as hdus:
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
