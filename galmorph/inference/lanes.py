"""Several devices at once: who reads, who encodes, and how the rows keep their order."""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt

from galmorph.errors import DeviceError
from galmorph.images.source import Source
from galmorph.inference.backends import Backend, Lane
from galmorph.inference.blocks import Block, ReadBlock, Row, chunk, join_blocks, make_block

__all__ = ["run_in_lanes"]

READ_SIZE = 64
"""Cutouts that a worker reads at once: few, so that all workers share in every batch."""

BLOCKS_AHEAD = 2
"""Blocks under way per worker, beside one batch per device: nobody waits, memory stays flat."""

Wait = Callable[[], npt.NDArray[np.float32]]


@contextmanager
def _naming(lane: Lane) -> Iterator[None]:
    """Say which device it was."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).partition("\n")[0]
        raise DeviceError(
            f"{lane.name} failed: {said}. The rows before are kept where a table is written: "
            "--resume goes on, with another --device or a smaller --batch-size if need be"
        ) from error


def _finish(
    rows: list[Row], good: list[int], wait: Wait | None, lane: Lane, num_features: int
) -> Block:
    with _naming(lane):
        encoded = None if wait is None else wait()
    return make_block(rows, good, encoded, num_features=num_features)


def run_in_lanes(
    sources: Iterable[Source],
    read_block: Callable[[Sequence[Source]], ReadBlock],
    backend: Backend,
    *,
    num_features: int,
    batch_size: int,
    workers: int,
) -> Iterator[Block]:
    """Read with some workers and encode with every lane of the backend.

    Parameters
    ----------
    sources : iterable of Source
    read_block : callable
        Reads and prepares some sources; called by the workers.
    backend : Backend
        With lanes. Each gets a thread, which takes the next batch when it is done with one.
    num_features, batch_size, workers : int
        Length of an embedding; cutouts encoded together; threads that read.

    Yields
    ------
    Block
        One for each batch, in the order of the sources.

    Raises
    ------
    DeviceError
        A device failed; which one, and how. The blocks before have been yielded.
    """
    free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
    for lane in backend.lanes:
        free.put(lane)
    own = threading.local()

    def take_lane() -> None:
        own.lane = free.get_nowait()
        backend.start_worker()

    def encode(readings: list[Future[ReadBlock]]) -> Callable[[], Block]:
        rows, good, parts = join_blocks([reading.result() for reading in readings])
        with _naming(own.lane):
            wait = own.lane.start(parts, full=batch_size) if good else None
        return partial(_finish, rows, good, wait, own.lane, num_features)

    size = min(READ_SIZE, batch_size)
    ahead = len(backend.lanes) + math.ceil(BLOCKS_AHEAD * workers * size / batch_size)
    pending: deque[Future[Callable[[], Block]]] = deque()
    readers = ThreadPoolExecutor(workers, "galmorph-reader")
    encoders = ThreadPoolExecutor(len(backend.lanes), "galmorph-device", initializer=take_lane)
    try:
        for batch in chunk(sources, batch_size):
            readings = [readers.submit(read_block, part) for part in chunk(batch, size)]
            pending.append(encoders.submit(encode, readings))
            if len(pending) > ahead:
                yield pending.popleft().result()()
        while pending:
            yield pending.popleft().result()()
    finally:
        for pool in (readers, encoders):
            pool.shutdown(wait=True, cancel_futures=True)
