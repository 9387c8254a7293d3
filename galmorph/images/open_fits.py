"""FITS files that stay open for the next row: mosaics, and files of an HDU per galaxy."""

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from galmorph.errors import ImageError
from galmorph.images.cutout import Cutout
from galmorph.images.fits import choose_images, cutout_from_hdus
from galmorph.images.fits_files import open_fits, reading_fits
from galmorph.images.hdus import HduChoice
from galmorph.images.source import Region
from galmorph.settings import ReadOptions

MOST_OPEN = 6


@dataclass(slots=True)
class _OpenFits:
    """An open file with what was chosen of it, by the options that were asked for."""

    hdus: Any
    chosen: dict[str, HduChoice] = field(default_factory=dict)

    def __del__(self) -> None:
        # When its thread ends; nobody can be told of an error any more.
        with suppress(Exception):
            self.hdus.close()

    def choose(self, options: ReadOptions) -> HduChoice:
        key = repr((options.hdu, options.bands))
        if key not in self.chosen:
            self.chosen[key] = choose_images(self.hdus, options)
        return self.chosen[key]


class _OpenFiles(threading.local):
    """The files that a thread has open; their file positions cannot be shared."""

    def __init__(self) -> None:
        self.table: OrderedDict[tuple[int, str, int], _OpenFits] = OrderedDict()

    def get(self, path: str) -> _OpenFits:
        key = (os.getpid(), path, os.stat(path).st_mtime_ns)
        if key not in self.table:
            self.table[key] = _OpenFits(open_fits(path))
        self.table.move_to_end(key)
        while len(self.table) > MOST_OPEN:
            self.table.popitem(last=False)[1].hdus.close()
        return self.table[key]

    def close(self) -> None:
        """Close all of this thread."""
        while self.table:
            self.table.popitem()[1].hdus.close()


_open_files = _OpenFiles()


def read_part(file: str, options: ReadOptions, region: Region | None = None) -> Cutout:
    """Read an HDU, or a square of sky of one, and leave the file open."""
    with reading_fits(file):
        opened = _open_files.get(file)
        try:
            chosen = opened.choose(options)
            return cutout_from_hdus(opened.hdus, options, region=region, chosen=chosen, keep=False)
        except ImageError as error:
            # The frames of its traceback would keep the file open as long as the row lives.
            failure = error.with_traceback(None)
        except (OSError, ValueError):
            _open_files.close()  # an open file that failed once is not to be trusted
            raise
        del opened
        raise failure
