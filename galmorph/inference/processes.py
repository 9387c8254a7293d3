"""Who reads what: threads of this process, or processes that may die (`nursery`).

The rule: JPEG, PNG and WebP, by their first bytes, are read in threads, because their decoders have
been attacked for years and need little Python. Everything else (FITS, TIFF, HDF5, npy, what is
compressed, what is no image) goes to processes: libraries crash on damaged files, and Python's lock
would set the pace. Objects in memory stay where they are, but for arrays that take much Python:
flux to render, or a galaxy to measure.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from galmorph.flags import Flags
from galmorph.images.memory import InMemory, drop_pixels
from galmorph.images.source import Lost, Source, replace_columns
from galmorph.inference.nursery import BLOCK_ROWS, Child, Nursery
from galmorph.inference.reading import ReadBlock, Reader, Row, fail, join_blocks, to_one_dtype
from galmorph.inference.workers import Workers
from galmorph.quantities import Array

# So many blocks of JPEG are read in threads ahead of processes: a small job is done before.
BLOCKS_HERE = 64
FEW_BLOCKS = 2  # the same of arrays in memory
MANY_WORKERS = 8  # with more than these, Python's lock is short even for JPEG
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")  # JPEG, PNG, WebP
QUICK_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".parquet")
HEAD_BYTES = 4
# Once a run has read so many files, it ends those that take so many times the average and at least
# so long, as soon as a worker has nothing else to do; not those that wait for a disk.
MANY_FILES, TIMES, LEAST_SECONDS = 500, 300, 1.0

logger = logging.getLogger(__name__)

# By the process that uses it, a fork of a program of its own; and whether it has loaded torch.
_nurseries: dict[tuple[int, bool], Nursery] = {}
_nurseries_lock = threading.Lock()


def _get_nursery(*, with_torch: bool) -> Nursery:
    """The one of this program; OSError where there can be none."""
    key = os.getpid(), with_torch
    with _nurseries_lock:
        if key not in _nurseries or _nurseries[key].has_died():
            _nurseries[key] = Nursery(with_torch=with_torch)
            atexit.register(_nurseries[key].close)
        return _nurseries[key]


def expect_files(paths: Sequence[str]) -> None:
    """Have the nursery start, while a model is loaded, if the first file or folder looks so."""
    with suppress(OSError, StopIteration, IndexError):
        first = paths[0]
        if os.path.isdir(first):
            with os.scandir(first) as entries:
                first = next(entries).name
        if not first.lower().endswith(QUICK_SUFFIXES):
            _get_nursery(with_torch=False)


def _may_crash(source: Source) -> bool:
    """Whether it is to be read in a process that may die."""
    stays = isinstance(source, Lost) or not _can_travel(source) or _find_array(source) is not None
    return not (stays or source.read_head(HEAD_BYTES).startswith(SIGNATURES))


def _can_travel(source: Source) -> bool:
    in_memory = isinstance(source, InMemory) and type(source.data) is not bytes
    return not in_memory or _find_array(source) is not None


def _find_array(source: Source) -> Array | None:
    """Pixels of an array in memory."""
    data = source.data if isinstance(source, InMemory) else None
    return data if type(data) is np.ndarray and data.dtype.kind in "fu" else None


class _Pool:
    """Processes of one nursery that read with one reader, as many as are asked for at once."""

    def __init__(self, reader: Reader, workers: Workers, *, with_torch: bool) -> None:
        self._reader, self._workers, self._with_torch = reader, workers, with_torch
        self._pixel_bytes = 3 * 4 * reader.preprocessing.img_size**2
        self._children: set[Child] = set()
        self._free: queue.LifoQueue[Child] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._closed, self._read, self._seconds = False, 0, 0.0

    def is_up(self) -> bool:
        """Whether a process could be had at once; starts the nursery."""
        return _get_nursery(with_torch=self._with_torch).is_up()

    def take(self) -> Child:
        """A process; OSError where there is none to be had."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            child = _get_nursery(with_torch=self._with_torch).fork(self._reader, self._pixel_bytes)
        with self._lock:
            self._children.add(child)
            if self._closed:
                child.end()
        return child

    def is_too_long(self, seconds: float) -> bool:
        """Whether a file that has waited for so long is to be ended before its time is over."""
        usual = self._seconds / self._read if self._read >= MANY_FILES else math.inf
        return seconds > max(TIMES * usual, LEAST_SECONDS) and self._workers.lack_work()

    def give_back(self, child: Child) -> None:
        if not child.ended and not self._closed:
            self._free.put(child)
            return
        with self._lock:
            self._children.discard(child)
        child.end()
        child.close(wait=self._closed)

    def close(self) -> None:
        """End all, busy ones as well."""
        with self._lock:
            self._closed = True
            for child in self._children:
                child.end()
        while not self._free.empty():
            self.give_back(self._free.get())

    def read_block(self, sources: Sequence[Source]) -> ReadBlock:
        """As `Reader.read_block`; a source whose process dies gets its row."""
        rows: dict[int, Row] = {}
        pixels: dict[int, Any] = {}
        while todo := [k for k in range(len(sources)) if k not in rows][:BLOCK_ROWS]:
            if self._closed:
                raise InterruptedError("the run was stopped")
            child, began = self.take(), time.monotonic()
            sent = [replace_columns(sources[k], {}) for k in todo]
            found = child.read(sent, self._workers.step_aside, self.is_too_long)
            for k, (packed, image) in zip(todo, found, strict=False):
                if image is not None:
                    pixels[k] = image.copy()
                rows[k] = Row(drop_pixels(sources[k]), *packed)
            self.give_back(child)
            self._read += len(todo)
            self._seconds += (time.monotonic() - began) * (not child.ended)
            if child.ended and not child.left and not self._closed:
                source = sources[k := todo[child.begun - 1]]
                rows[k] = row = Row(drop_pixels(source), source.object_id, source.address)
                fail(row, child.explain_end(source))
                row.flags |= Flags.READER_CRASHED
        good = sorted(pixels)
        stacked = np.stack(to_one_dtype([pixels[k] for k in good])) if good else None
        return ReadBlock([rows[k] for k in range(len(sources))], good, stacked)


class Readers:
    """A reader whose work is shared among the calling threads and processes.

    With ``everything`` also JPEG and the like are read in processes, once they are up: for many
    threads, or a device that is faster than one Python interpreter. The ``workers`` call.
    """

    def __init__(self, reader: Reader, workers: Workers, *, everything: bool) -> None:
        self._reader, self._everything = reader, everything
        self._risky = _Pool(reader, workers, with_torch=False)
        self._plain = _Pool(reader, workers, with_torch="torch" in sys.modules)
        self._blocks = 0
        self._stopped = False

    def read_block(self, sources: Sequence[Source]) -> ReadBlock:
        """As `Reader.read_block`; may be called from several threads at once."""
        self._blocks += 1
        risky = [k for k, source in enumerate(sources) if _may_crash(source)]
        if not risky:
            return self._read_plain(sources)
        plain = sorted({*range(len(sources))} - {*risky})
        read = self._try_pool(self._risky, [sources[k] for k in risky])
        if not plain:
            return read
        parts = [self._read_plain([sources[k] for k in plain]), read]
        return _sort_rows(join_blocks(parts), plain + risky)

    def _takes_python(self, source: Source) -> bool:
        """Whether it is an array of flux, or one in which the galaxy is measured."""
        if (array := _find_array(source)) is None:
            return False
        measures = self._reader.preprocessing.measures
        return array.dtype.kind == "f" or measures(self._reader.field, array.shape)

    def _read_here(self, sources: Sequence[Source]) -> ReadBlock:
        return self._reader.read_block(sources, before=self._check)

    def _check(self, _: Source) -> None:
        if self._stopped:
            raise InterruptedError("the run was stopped")

    def _read_plain(self, sources: Sequence[Source]) -> ReadBlock:
        if self._blocks > FEW_BLOCKS and all(map(self._takes_python, sources)):
            return self._try_pool(self._risky, sources, wait=False)
        wanted = self._everything and self._blocks > BLOCKS_HERE
        if wanted and all(map(_can_travel, sources)):
            return self._try_pool(self._plain, sources, wait=False)
        return self._read_here(sources)

    def _try_pool(self, pool: _Pool, sources: Sequence[Source], *, wait: bool = True) -> ReadBlock:
        try:
            if wait or pool.is_up():
                return pool.read_block(sources)
        except InterruptedError:
            raise
        except OSError as error:
            logger.warning("files are read in threads, no processes can be had (%s)", error)
        return self._read_here(sources)

    def close(self) -> None:
        """End what is being read, and all processes of this run."""
        self._stopped = True
        self._risky.close()
        self._plain.close()


def _sort_rows(block: ReadBlock, places: Sequence[int]) -> ReadBlock:
    """Put rows to the places that they had."""
    rows = [block.rows[k] for k in np.argsort(places)]
    good = np.array([places[k] for k in block.good], dtype=int)
    order = np.argsort(good)
    return ReadBlock(
        rows, good[order].tolist(), None if block.pixels is None else block.pixels[order]
    )
