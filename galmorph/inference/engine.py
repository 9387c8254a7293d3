"""Sources in, embeddings out: read, prepare and encode overlapped, order kept, bad files flagged.

On the CPU every worker thread takes whole batches through all stages, with one compute thread of
its own: decoding and encoding share the cores without ever waiting for each other. With GPUs the
workers read and prepare, each GPU has a thread that takes the next batch as soon as it can, and the
calling thread only collects (see `galmorph.inference.lanes`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Integral

from galmorph.images.options import ReadOptions
from galmorph.images.source import Source
from galmorph.images.stacks import stacks_in_use
from galmorph.inference.backends import Backend, check_backend, open_backend
from galmorph.inference.blocks import Block, Row, chunk, concatenate_blocks, make_block
from galmorph.inference.cores import count_cores, keep_numpy_on_one_core
from galmorph.inference.lanes import READ_SIZE, run_in_lanes
from galmorph.inference.reading import Reader
from galmorph.inference.reading_process import BLOCKS_HERE, ReaderProcesses
from galmorph.model import Model
from galmorph.preprocessing.pipeline import FieldOptions
from galmorph.preprocessing.render import RenderOptions

__all__ = ["Block", "EngineOptions", "Row", "explain_options", "run_inference"]

CPU_BATCH_SIZE = 32
GPU_BATCH_SIZE = 512
BLOCKS_AHEAD = 2
"""Blocks under way per worker: enough that nobody waits, few enough that memory stays flat."""

BATCHES_TOGETHER = 4
QUICK_BATCH = 0.1
"""Batches that make a block, where each takes fewer seconds than this: whoever collects the blocks
holds Python's lock meanwhile, and does so less often."""


@dataclass(frozen=True)
class EngineOptions:
    """How the work is done; none of it changes a result beyond the precision's rounding.

    Attributes
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:N", "mps"; several GPUs as "cuda:all" or "cuda:0,cuda:1".
    batch_size : int or None
        Cutouts encoded together; None chooses by device.
    workers : int or None
        Threads that read and prepare (and, on the CPU, encode), with a process of its own for
        each beside a GPU; None takes every core.
    precision : str or None
        "float32", "bfloat16" or "float16"; None takes bfloat16 where the device multiplies in it.
    """

    device: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Integral) and int(value) >= 1):
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")


def explain_options(options: EngineOptions) -> dict[str, str]:
    """What a run with these options does to be fast, and what not, with the reason.

    Raises
    ------
    DeviceError, ValueError
        As `run_inference`.
    """
    device, precision = check_backend("torch", device=options.device, precision=options.precision)
    workers = options.workers or count_cores()
    size = options.batch_size or (CPU_BATCH_SIZE if device == "cpu" else GPU_BATCH_SIZE)
    said = {
        "used": f"{device}, {precision}",
        "batches": f"{size} cutouts, halved on a device whose memory is too small",
        "torch.compile": "not used: needs a C++ compiler, and starts slowly",
    }
    if device == "cpu":
        from galmorph.inference.fused_layers import can_fuse

        said["fused layers"] = (
            "convolution, sum and ReLU in one step, by oneDNN, for encoders of galmorph"
            if can_fuse()
            else "not used: this torch comes without oneDNN"
        )
        said["workers"] = f"{workers} threads, each of which reads and encodes"
        said["CUDA graphs"] = "not used: no GPU takes part"
        return said
    said["workers"] = (
        f"{workers} threads that read; as many processes do it for them after "
        f"{READ_SIZE * BLOCKS_HERE} cutouts"
    )
    if device.startswith("cuda"):
        said["copies"] = "in the background, from pinned memory, as bytes; normalized on the GPU"
        said["CUDA graphs"] = "from the second full batch on; without them where that fails"
    else:
        said["CUDA graphs"] = "not used: NVIDIA GPUs only"
    return said


def run_inference(
    model: Model,
    sources: Iterable[Source],
    *,
    read: ReadOptions | None = None,
    field: FieldOptions | None = None,
    rendering: RenderOptions | None = None,
    options: EngineOptions | None = None,
) -> Iterator[Block]:
    """Embed sources, in order, lazily.

    Parameters
    ----------
    model : Model
        What to embed with.
    sources : iterable of Source
        Consumed a few blocks ahead of the results, so that memory does not grow with its length.
    read, field, rendering, options
        Settings of the stages.

    Yields
    ------
    Block
        Rows in the order of the sources, none missing.

    Raises
    ------
    DeviceError, ValueError
        The options ask for what is not there; before anything is read.
    """
    options = options or EngineOptions()
    field = field or FieldOptions()
    backend = open_backend(model, device=options.device, precision=options.precision)
    read = model.preprocessing.tell_reader(read or ReadOptions(), field)
    reader = Reader(model.preprocessing, read, field, rendering or RenderOptions())
    workers = options.workers or count_cores()
    size = options.batch_size or (GPU_BATCH_SIZE if backend.lanes else CPU_BATCH_SIZE)
    run = _run_beside if backend.lanes else _run_in_workers
    return run(
        sources,
        reader,
        backend,
        num_features=model.num_features,
        batch_size=size,
        workers=workers,
    )


def _run_in_workers(
    sources: Iterable[Source],
    reader: Reader,
    backend: Backend,
    *,
    num_features: int,
    batch_size: int,
    workers: int,
) -> Iterator[Block]:
    """Each worker takes whole batches through all stages, several at a time while they are quick.

    Which cutouts share a batch does not depend on that, and so neither does any value.
    """

    def encode(batch: list[Source]) -> Block:
        read = reader.read_block(batch)
        encoded = None if read.pixels is None else backend.encode(read.pixels)
        return make_block(read.rows, read.good, encoded, num_features=num_features)

    def work(batches: list[list[Source]]) -> tuple[Block, float]:
        begin = time.perf_counter()
        block = concatenate_blocks([encode(batch) for batch in batches])
        return block, (time.perf_counter() - begin) / len(batches)

    pending: deque[Future[tuple[Block, float]]] = deque()
    batches = chunk(sources, batch_size)
    count = 1
    with backend.guard(), keep_numpy_on_one_core(), stacks_in_use():
        pool = ThreadPoolExecutor(workers, "galmorph", initializer=backend.start_worker)
        try:
            while several := _take(batches, count):
                pending.append(pool.submit(work, several))
                if len(pending) > BLOCKS_AHEAD * workers:
                    block, seconds = pending.popleft().result()
                    count = BATCHES_TOGETHER if seconds < QUICK_BATCH else 1
                    yield block
            while pending:
                yield pending.popleft().result()[0]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _take(batches: Iterator[list[Source]], count: int) -> list[list[Source]]:
    """The next batches; one where its images are in memory, lest many wait there."""
    taken: list[list[Source]] = []
    for batch in batches:
        taken.append(batch)
        if len(taken) == count or any(source.data is not None for source in batch):
            break
    return taken


def _run_beside(
    sources: Iterable[Source], reader: Reader, backend: Backend, **sizes: int
) -> Iterator[Block]:
    """The workers only read, each in a process of its own where that pays."""
    processes = ReaderProcesses(reader, sizes["workers"])
    with backend.guard(), keep_numpy_on_one_core(), stacks_in_use():
        try:
            yield from run_in_lanes(sources, processes.read_block, backend, **sizes)
        finally:
            processes.close()
