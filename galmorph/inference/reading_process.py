"""Reading in processes of their own, for devices that are faster than one Python interpreter.

A third of the time of reading a JPEG file is Python, which only one thread of a process can run at
a time, however many cores there are. Beside a GPU that is too slow, so the reading threads hand
their files to processes: fresh interpreters, which get records of files and give back rows and
pixels through pipes. (Not `multiprocessing`: that would run the main module of whoever calls
galmorph once more.)
"""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

import numpy as np

from galmorph.flags import Flags
from galmorph.images.memory import InMemory, drop_pixels
from galmorph.images.source import Source
from galmorph.inference.blocks import ReadBlock, Row
from galmorph.inference.memory import keep_freed_memory
from galmorph.inference.reading import Reader

__all__ = ["ReaderProcesses", "serve"]

BLOCKS_HERE = 64
"""Processes are started after so many blocks: a small job would be done before they are up."""

READY = b"ready\n"

PIPE_BYTES = 1 << 20
logger = logging.getLogger(__name__)


def _pack_source(source: Source) -> tuple[Any, ...]:
    # A plain tuple takes a tenth of the time of the record; catalogue columns stay here.
    kind: Any = type(source)
    return kind, *({} if name == "columns" else getattr(source, name) for name in kind.__slots__)


def _pack_row(row: Row) -> tuple[Any, ...]:
    return (
        *(row.object_id, row.path, row.ra, row.dec, row.fov, row.crop),
        *(int(row.flags), row.message, dict(row.notes), _make_portable(row.error)),
    )


def _unpack_row(source: Source, packed: tuple[Any, ...]) -> Row:
    object_id, path, ra, dec, fov, crop, flags, message, notes, error = packed
    return Row(
        *(source, object_id, path, ra, dec, fov, crop),
        *(Flags(flags), message, notes, error),
    )


def _make_portable(error: Exception | None) -> Exception | None:
    """The error itself, where it can be sent, or else its words."""
    if error is None:
        return None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling runs the exception's own code
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _can_travel(source: Source) -> bool:
    """Objects in memory are read where they are, unless they are a file's bytes."""
    return not isinstance(source, InMemory) or type(source.data) is bytes


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """What a reading process does: get ready first, then blocks of sources until the end."""
    reader, with_torch = pickle.load(requests)
    if with_torch:  # which shrinks pixels faster, in the last digit not as Pillow does
        import torch  # noqa: F401
    replies.write(READY)
    replies.flush()
    while True:
        try:
            packed = pickle.load(requests)
        except EOFError:  # the other side is done, or gone
            return
        block = reader.read_block([kind(*fields) for kind, *fields in packed])
        rows, pixels = [_pack_row(row) for row in block.rows], block.pixels
        form = None if pixels is None else (pixels.shape, pixels.dtype.str)
        pickle.dump((rows, block.good, form), replies, protocol=5)
        if pixels is not None:
            replies.write(np.ascontiguousarray(pixels).data.cast("B"))
        replies.flush()


def main() -> None:
    """Serve on standard input and output, which nothing else may use."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has the table
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", PIPE_BYTES)
    os.dup2(2, 1)
    keep_freed_memory()
    serve(requests, replies)


class _Child:
    """One reading process, used by one thread at a time."""

    def __init__(self, reader: Reader) -> None:
        command = [sys.executable, "-P", "-c", f"from {__name__} import main; main()"]
        path = os.pathsep.join(p for p in sys.path if p)
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=PIPE_BYTES,
            env={**os.environ, **one, "PYTHONPATH": path},
        )
        self._requests = cast("BinaryIO", self._process.stdin)
        self._replies = cast("BinaryIO", self._process.stdout)
        _widen(self._replies)
        pickle.dump((reader, "torch" in sys.modules), self._requests, protocol=5)
        self._requests.flush()

    def is_ready(self) -> bool:
        """Wait until it can read; false where it has ended instead."""
        return self._replies.read(len(READY)) == READY

    def read_block(self, sources: Sequence[Source]) -> ReadBlock:
        pickle.dump([_pack_source(source) for source in sources], self._requests, protocol=5)
        self._requests.flush()
        rows, good, form = pickle.load(self._replies)
        pixels = None
        if form is not None:
            pixels = np.empty(form[0], dtype=form[1])
            whole = pixels.data.cast("B")
            if cast("Any", self._replies).readinto(whole) != len(whole):
                raise EOFError("it ended within a block")
        return ReadBlock(
            [
                _unpack_row(drop_pixels(source), row)
                for source, row in zip(sources, rows, strict=True)
            ],
            good,
            pixels,
        )

    def end(self) -> None:
        """At once: it has nothing to put away."""
        self._process.kill()

    def close(self) -> None:
        """Put away what is left of it here."""
        self._process.wait()
        for stream in (self._requests, self._replies):
            try:
                stream.close()
            except OSError:  # what was not sent yet cannot be sent any more
                logger.debug("a pipe of a reading process was closed before its end")


def _widen(stream: BinaryIO) -> None:
    """Let a pipe hold a whole block where the system allows it: fewer turns of both sides."""
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError as error:
            logger.debug("pipes stay at their usual size: %s", error)


class ReaderProcesses:
    """A reader whose work is done in several processes.

    Parameters
    ----------
    reader : Reader
    count : int
        Processes: as many as there are threads that call `read_block`.

    Notes
    -----
    As long as a process is not up yet, cannot be started, or has ended before its time, the calling
    thread reads itself: slower, with the same result.
    """

    def __init__(self, reader: Reader, count: int) -> None:
        self._reader, self._count = reader, count
        self._blocks = itertools.count()
        self._children: list[_Child] = []
        self._free: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._starter: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def read_block(self, sources: Sequence[Source]) -> ReadBlock:
        """As `Reader.read_block`."""
        if next(self._blocks) == BLOCKS_HERE:
            self._starter = threading.Thread(target=self._start, name="galmorph-starter")
            self._starter.start()
        child = self._take_child() if all(map(_can_travel, sources)) else None
        if child is None:
            return self._reader.read_block(sources)
        try:
            block = child.read_block(sources)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            logger.warning("a reading process is gone; the others read on (%r)", error)
            return self._reader.read_block(sources)
        self._free.put(child)
        return block

    def _take_child(self) -> _Child | None:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return None

    def _start(self) -> None:
        """Start all at once, and hand out each as soon as it is up."""
        for _ in range(self._count):
            with self._lock:
                if self._closed:
                    return
                try:
                    self._children.append(_Child(self._reader))
                except OSError as error:
                    logger.warning("no more reading processes than these can be started: %s", error)
                    break
        for child in self._children:
            if child.is_ready():
                self._free.put(child)

    def close(self) -> None:
        """End the processes; no thread may be reading any more."""
        with self._lock:
            self._closed = True
        for child in self._children:
            child.end()
        if self._starter is not None:
            self._starter.join()
        for child in self._children:
            child.close()
