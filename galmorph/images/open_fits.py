"""FITS files that stay open for the next row: mosaics, and files of an HDU per galaxy."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from galmorph.errors import ImageError
from galmorph.images.cutout import Cutout
from galmorph.images.fits import cutout_from_hdus, open_fits, reading_fits
from galmorph.images.hdus import choose_hdus
from galmorph.images.sky import load_wcs
from galmorph.images.source import Region
from galmorph.settings import ReadOptions

MOST_OPEN = 6


@dataclass(slots=True)
class _OpenFits:
    """An open file with the WCS of the images that were read from it, by the HDU asked for."""

    hdus: Any
    wcs: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def __del__(self) -> None:
        # When its thread ends; nobody can be told of an error any more.
        with suppress(Exception):
            self.hdus.close()

    def get_wcs(self, options: ReadOptions, shown: str) -> tuple[Any, str]:
        key = repr(options.hdu)
        if key not in self.wcs:
            choice = choose_hdus(self.hdus, options.hdu, shown)
            self.wcs[key] = load_wcs(choice.hdus[0].header, self.hdus)
        return self.wcs[key]


class _OpenFiles(threading.local):
    """The files that a thread has open; their file positions cannot be shared."""

    def __init__(self) -> None:
        self.table: OrderedDict[tuple[int, str, int], _OpenFits] = OrderedDict()

    def get(self, path: str, shown: str) -> _OpenFits:
        key = (os.getpid(), path, os.stat(path).st_mtime_ns)
        if key not in self.table:
            self.table[key] = _OpenFits(open_fits(path, shown))
        self.table.move_to_end(key)
        while len(self.table) > MOST_OPEN:
            self.table.popitem(last=False)[1].hdus.close()
        return self.table[key]

    def close(self) -> None:
        """Close all of this thread."""
        while self.table:
            self.table.popitem()[1].hdus.close()


_open_files = _OpenFiles()


def read_part(
    file: str, options: ReadOptions, object_id: str, shown: str, *, region: Region | None = None
) -> Cutout:
    """Read an HDU, or a square of sky of one, and leave the file open."""
    with reading_fits(shown, file):
        opened = _open_files.get(file, shown)
        try:
            return cutout_from_hdus(
                opened.hdus,
                options=options,
                region=region,
                wcs=None if region is None else opened.get_wcs(options, shown),
                object_id=object_id,
                path=shown,
                keep=False,
            )
        except ImageError as error:
            # The frames of its traceback would keep the file open as long as the row lives.
            failure = error.with_traceback(None)
        except (OSError, ValueError):
            _open_files.close()  # an open file that failed once is not to be trusted
            raise
        del opened
        raise failure
