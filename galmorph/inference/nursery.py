"""Processes that read and may die: forked in milliseconds from one that has loaded the libraries.

That one is a fresh interpreter with a single thread, the nursery; it is started once and ends with
the program. (Not `multiprocessing`: that would run the main module of whoever calls galmorph once
more.) Results come back through shared memory, finished rows of a process that died among them.
"""

from __future__ import annotations

import gc
import io
import math
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from galmorph.errors import ReaderCrashedError
from galmorph.flags import Flags
from galmorph.images.files import ImageFile
from galmorph.images.hdus import split_hdu
from galmorph.images.source import make_printable

if TYPE_CHECKING:
    from galmorph.images.source import Source
    from galmorph.inference.reading import Reader
    from galmorph.inference.workers import Workers

SECONDS = 30.0  # longest time that reading one source may take
# What a process may take: the first, and the second for every pixel of `ReadOptions.max_pixels`.
MEMORY_BYTES = 1 << 30
MEMORY_PER_PIXEL = 24
# What reading a plain file may add: the first, and the second for every byte of the file. Images of
# five pixels a byte fit; to fill a gigabyte takes as long as to read a hundred files.
FILE_MEMORY_BYTES = 72 << 20
FILE_MEMORY_PER_BYTE = 128
# Whoever waits longer than this for a source, which itself waits for no core, steps aside.
SLOW_SECONDS = 0.006
DISK_LOOKS = 0.2  # what a look counts at a process that waits for a disk: it may take five times it
LOOK_SECONDS = 0.004  # between two looks, by any of those aside, whether a worker has nothing to do
BLOCK_ROWS = 64  # most sources of one request
GROUP_ROWS = 8  # that are prepared together: those before a file that ends the process are lost
TEXT_BYTES = BLOCK_ROWS << 16
ARRAY_BYTES = 1 << 26  # of arrays in memory that are to be read; further ones go through the socket
# Rows done, bytes of text, of pixels, 1 where the process ends itself, rows begun, since when.
HEADER = struct.Struct("qqqqqd")
PRELOADED = (  # libraries that the nursery loads while it has nothing else to do
    *("ctypes", "resource"),
    *("astropy.io.fits", "galmorph.images.fits", "astropy.wcs", "astropy.visualization"),
    *("galmorph.preprocessing.survey_stretches", "galmorph.preprocessing.general_stretches"),
)
GREETING = struct.Struct("q")
StepAside = Callable[[], AbstractContextManager["Workers"]]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # or filling memory costs more


def _make_portable(error: Exception | None) -> Exception | None:
    """The error itself, where it can be sent, or else its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling runs the exception's own code
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _measure_memory() -> int:
    """Bytes that this process may write to, as RLIMIT_DATA counts them; 0 where it is no Linux."""
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[5]) * mmap.PAGESIZE
    return 0


def _bound() -> None:
    """Let no process of strangers' files write a core, or outlive the nursery."""
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(AttributeError, OSError):  # no Linux
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _count_room(source: Source) -> float:
    """Bytes of memory that reading a plain file may take; a container's libraries take more."""
    with suppress(OSError, ValueError):
        if isinstance(source, ImageFile):
            size = os.stat(split_hdu(source.path)[0]).st_size
            return FILE_MEMORY_BYTES + FILE_MEMORY_PER_BYTE * size
    return math.inf


def _limit_memory(room: float, most: int) -> None:
    """Let memory grow by that much, and never beyond the most."""
    import resource

    if used := _measure_memory():
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = int(min(used + room, most, hard if hard >= 0 else math.inf))
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


class _Desk:
    """The shared memory from the side of the process that reads."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, 0)
        self.clear()

    def clear(self) -> None:
        self.done = self._text = self._pixels = self.begun = 0

    def find_arrays(self, places: Sequence[tuple[int, int]]) -> list[memoryview]:
        return [memoryview(self._memory)[begin:end] for begin, end in places]

    def note(self, *, leaves: bool = False) -> None:
        values = (self.done, self._text, self._pixels, leaves, self.begun, time.monotonic())
        HEADER.pack_into(self._memory, 0, *values)

    def put(self, row: tuple[Any, ...], pixels: Any) -> None:
        """Add a row; what counts it comes last, in `note`."""
        form = None
        if pixels is not None:
            raw = np.ascontiguousarray(pixels).data.cast("B")
            begin = HEADER.size + TEXT_BYTES + self._pixels
            self._memory[begin : begin + len(raw)] = raw
            self._pixels += len(raw)
            form = pixels.shape, pixels.dtype.str
        text = pickle.dumps((row, form), protocol=5)
        if self._text + len(text) > TEXT_BYTES:
            raise ValueError("a row of this size cannot be sent")
        begin = HEADER.size + self._text
        self._memory[begin : begin + len(text)] = text
        self._text += len(text)
        self.done += 1


def _serve(connection: socket.socket, descriptor: int) -> NoReturn:
    """Read blocks of sources until the other side is gone."""
    from galmorph.inference.reading import fills_memory

    requests, desk = connection.makefile("rb"), _Desk(descriptor)
    reader, seconds, memory, folder = pickle.load(requests)
    os.chdir(folder)  # that of the caller, which may have gone elsewhere since
    _bound()
    most = _measure_memory() + memory
    connection.send(GREETING.pack(os.getpid()))

    def begin(source: Source) -> None:
        desk.begun += 1
        desk.note()
        _limit_memory(_count_room(source), most)
        # Its signal ends the process, in the midst of a library as well.
        signal.setitimer(signal.ITIMER_REAL, seconds)

    while True:
        try:
            sources = pickle.load(requests, buffers=desk.find_arrays(pickle.load(requests)))
        except (EOFError, OSError):
            os._exit(0)
        desk.clear()
        for rows, pixels in reader.read_groups(sources, begin, GROUP_ROWS):
            signal.setitimer(signal.ITIMER_REAL, 0)
            for k, row in enumerate(rows):
                desk.begun = desk.done + 1
                desk.note()
                if fills_memory(row):
                    row.flags |= Flags.READER_CRASHED
                packed = (
                    *(row.object_id, row.path, row.ra, row.dec, row.fov, row.crop),
                    *(row.flags, row.message, dict(row.notes), _make_portable(row.error)),
                )
                desk.put(packed, pixels.get(k))
            full = any(map(fills_memory, rows))
            desk.note(leaves=full)
            if full:  # whatever holds the memory goes with it
                os._exit(0)
        connection.send(b"d")


def main(number: int, with_torch: bool) -> None:
    """The nursery: fork a process for every connection that comes over a socket."""
    for name in ("SIGINT", "SIGTERM", "SIGCHLD"):  # they are for the process that has the table
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    from galmorph.inference.cores import keep_freed_memory
    from galmorph.inference.reading import Reader  # noqa: F401

    keep_freed_memory()
    if with_torch:  # which shrinks pixels faster, in the last digit not as Pillow does
        import torch  # noqa: F401
    control = socket.socket(fileno=number)
    control.send(b"u")
    waiting = [*PRELOADED][::-1]
    while True:
        if waiting and not select.select([control], (), (), 0)[0]:
            import_module(waiting.pop())
            if not waiting:
                gc.collect()
            continue
        message, descriptors, *_ = socket.recv_fds(control, 1, 2)
        if not message:
            return
        gc.freeze()  # a collection in each process would copy all memory that they share
        process = -1
        with suppress(OSError):  # the other side finds its end closed; all who read go on
            process = os.fork()
        if process == 0:
            control.close()
            _serve(socket.socket(fileno=descriptors[0]), descriptors[1])
        for descriptor in descriptors:
            os.close(descriptor)


class Child:
    """A process that reads, seen from here; used by one thread at a time."""

    def __init__(self, connection: socket.socket, memory: mmap.mmap, pid: int) -> None:
        self._connection, self._memory, self._pid = connection, memory, pid
        self._given_up = False

    def read(
        self, sources: Sequence[Source], step_aside: StepAside, is_too_long: Callable[[float], bool]
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Packed rows and their pixels; fewer than sources where the process has ended."""
        HEADER.pack_into(self._memory, 0, 0, 0, 0, 0, 1, time.monotonic())
        try:
            self._connection.settimeout(None)
            self._connection.sendall(self._pack(sources))
            self.ended = self._wait(step_aside, is_too_long) != b"d"
        except OSError:
            self.ended = True
        done, length, _, self.left, self.begun, _ = HEADER.unpack_from(self._memory, 0)
        self._took = self._count_seconds()
        text = io.BytesIO(self._memory[HEADER.size : HEADER.size + length])
        begin = HEADER.size + TEXT_BYTES
        for _ in range(done):
            row, form = pickle.load(text)
            pixels = None
            if form is not None:
                shape, dtype = form
                pixels = np.frombuffer(self._memory, dtype, math.prod(shape), begin).reshape(shape)
                begin += pixels.nbytes
            yield row, pixels

    def _pack(self, sources: Sequence[Source]) -> bytes:
        """Sources without their arrays, which are put at the end of the shared memory."""
        places: list[tuple[int, int]] = []
        end = len(self._memory) - ARRAY_BYTES

        def put(buffer: pickle.PickleBuffer) -> bool:
            nonlocal end
            begin, end = end, end + buffer.raw().nbytes
            if not begin < end <= len(self._memory):
                end = begin
                return True  # it stays where it is
            np.frombuffer(self._memory, np.uint8)[begin:end] = np.frombuffer(buffer.raw(), np.uint8)
            places.append((begin, end))
            return False

        text = pickle.dumps(sources, protocol=5, buffer_callback=put)
        return pickle.dumps(places) + text

    def _wait(self, step_aside: StepAside, is_too_long: Callable[[float], bool]) -> bytes:
        """Its answer; aside, as soon as a source takes long and no core."""
        looks = 0.0
        self._connection.settimeout(SLOW_SECONDS / 2)
        while looks < 2 or self._count_seconds() < SLOW_SECONDS:
            with suppress(TimeoutError):
                return self._connection.recv(1)
            state = self._get_state()
            looks = 0.0 if state == "R" else looks + (DISK_LOOKS if state == "D" else 1)
        with step_aside() as workers:
            while True:
                self._connection.settimeout(LOOK_SECONDS * workers.aside)
                with suppress(TimeoutError):
                    return self._connection.recv(1)
                if is_too_long(self._count_seconds()) and self._get_state() == "S":
                    self._given_up = True
                    self.end()

    def _count_seconds(self) -> float:
        """Since the source in hand was begun."""
        began: float = HEADER.unpack_from(self._memory, 0)[-1]
        return time.monotonic() - began

    def _get_state(self) -> str:
        """Of the process: R wants a core, D waits for a disk, S for something else."""
        with suppress(OSError), open(f"/proc/{self._pid}/stat", encoding="utf-8") as stream:
            return stream.read().rpartition(") ")[2][:1]
        return "R"  # no system that says so

    def explain_end(self, source: Source) -> ReaderCrashedError:
        """Why it has died over a source."""
        reason = "reading it ended the process that read: damaged, so that a library crashes"
        if self._given_up or self._took >= SECONDS:
            limit = f"{min(int(self._took), SECONDS):g} s"
            limit += ", while nothing else was left to do," * self._given_up
            reason = f"reading it took more than {limit} and was ended"
        return ReaderCrashedError(reason, make_printable(source.address) or None)

    def end(self) -> None:
        """At once: it has nothing to put away. Whoever reads with it sees it `ended`."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def close(self, *, wait: bool) -> None:
        """Put away what is left of it here, perhaps once it has let go of its files."""
        self._connection.close()
        deadline = time.monotonic() + wait
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(self._pid, 0)
                time.sleep(0.001)


def _open_memory(size: int) -> int:
    """Descriptor of memory that other processes can map."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("galmorph")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


class Nursery:
    """The process that forks; raises OSError where there can be none."""

    def __init__(self, *, with_torch: bool = False) -> None:
        if not hasattr(os, "fork"):
            raise OSError("this system cannot fork")
        self._control, other = socket.socketpair()
        code = f"from {__name__} import main; main({other.fileno()}, {with_torch})"
        path = os.pathsep.join(p for p in sys.path if p)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env={**HUGE_PAGES, **os.environ, **ONE_THREAD, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the process that has the table
            )
        except OSError:
            self._control.close()
            raise
        finally:
            other.close()
        self._up, self._owner = False, os.getpid()

    def is_up(self) -> bool:
        """Whether it would fork at once; without waiting."""
        if not self._up and select.select([self._control], (), (), 0)[0]:
            self._up = self._control.recv(1) == b"u"
        return self._up

    def has_died(self) -> bool:
        """Whether somebody has ended it, after it has forked."""
        return self._up and self._process.poll() is not None

    def fork(self, reader: Reader, pixel_bytes: int) -> Child:
        """A process that is ready to read; OSError where there is none."""
        size = HEADER.size + TEXT_BYTES + BLOCK_ROWS * pixel_bytes + ARRAY_BYTES
        descriptor = _open_memory(size)
        try:
            memory = mmap.mmap(descriptor, size)
            here, there = socket.socketpair()
            with there:
                socket.send_fds(self._control, [b"f"], [there.fileno(), descriptor])
        finally:
            os.close(descriptor)
        bound = MEMORY_BYTES + MEMORY_PER_PIXEL * reader.read.max_pixels
        here.sendall(pickle.dumps((reader, SECONDS, bound, os.getcwd()), protocol=5))
        greeting = here.recv(GREETING.size)
        if len(greeting) < GREETING.size:
            here.close()
            raise OSError("a reading process ended at its start")
        self._up = True
        return Child(here, memory, *GREETING.unpack(greeting))

    def close(self) -> None:
        """End it, and the processes that read; not from a fork of the program that started it."""
        if os.getpid() != self._owner:
            return
        self._control.close()
        self._process.kill()
        self._process.wait()
