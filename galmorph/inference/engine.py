"""Sources in, embeddings out: read, prepare and encode overlapped, order kept, bad files flagged.

Worker threads take batches, with one compute thread each. On the CPU a worker takes a batch through
all stages: decoding and encoding share the cores without ever waiting for each other. Beside a GPU
the workers only read and prepare, and threads of the device encode what they have done.
"""

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, closing
from functools import partial

from galmorph.errors import DeviceError
from galmorph.images.source import Source
from galmorph.images.stacks import stacks_in_use
from galmorph.inference.backends import Backend, check_backend, open_backend
from galmorph.inference.cores import count_cores, keep_numpy_on_one_core
from galmorph.inference.nursery import SLOW_SECONDS
from galmorph.inference.processes import MANY_WORKERS, Readers
from galmorph.inference.reading import (
    Block,
    ReadBlock,
    Reader,
    Row,
    chunk,
    concatenate_blocks,
    join_blocks,
    make_block,
)
from galmorph.inference.workers import Workers
from galmorph.model import Model
from galmorph.settings import EngineOptions, FieldOptions, ReadOptions, RenderOptions

__all__ = ["Block", "Row", "explain_options", "run_inference"]

CPU_BATCH_SIZE = 64
GPU_BATCH_SIZE = 512
# Cutouts of a GPU's batch that a worker reads at once: few, so that all workers share in it.
READ_SIZE = 64
DEVICE_THREADS = 2  # while one waits for the GPU, the other one brings the next batch
# Blocks under way per worker: enough that nobody waits, few enough that memory stays flat.
BLOCKS_AHEAD = 2
# While a file is slow to read others go on, until so many rows wait for it, most of them done.
ROWS_WAITING = 16_384
# After the first few, batches that make a block where they come within this time: whoever collects
# the blocks holds Python's lock meanwhile, and does so less often.
BATCHES_ALONE, BATCHES_TOGETHER, SECONDS_TOGETHER = 8, 4, 0.3


def explain_options(options: EngineOptions) -> dict[str, str]:
    """What a run with these options does to be fast; raises as `run_inference`."""
    device, precision = check_backend("torch", device=options.device, precision=options.precision)
    workers = options.workers or count_cores()
    size = options.batch_size or (CPU_BATCH_SIZE if device == "cpu" else GPU_BATCH_SIZE)
    said = {
        "used": f"{device}, {precision}",
        "batches": f"{size} cutouts, halved on a device whose memory is too small",
    }
    if device != "cpu":
        said["workers"] = f"{workers} threads that read"
        return {**said, "copies": "as bytes, normalized on the device; from pinned memory to a GPU"}
    from galmorph.inference.fused_layers import can_fuse

    fused = "convolution, sum and ReLU in one step, by oneDNN, for encoders of galmorph"
    said["fused layers"] = fused if can_fuse() else "not used: this torch comes without oneDNN"
    return {**said, "workers": f"{workers} threads, each of which reads and encodes"}


def run_inference(
    model: Model,
    sources: Iterable[Source],
    *,
    read: ReadOptions | None = None,
    field: FieldOptions | None = None,
    rendering: RenderOptions | None = None,
    options: EngineOptions | None = None,
) -> Generator[Block, None, None]:
    """Embed sources lazily: blocks in their order, no row missing.

    They are consumed a few blocks ahead of the results, so that memory does not grow with their
    number. A DeviceError or ValueError says what is not there, before anything is read.
    """
    options, field = options or EngineOptions(), field or FieldOptions()
    backend = open_backend(model, device=options.device, precision=options.precision)
    read = model.preprocessing.tell_reader(read or ReadOptions(), field)
    reader = Reader(model.preprocessing, read, field, rendering or RenderOptions())
    return _join_quick(_run(sources, reader, backend, options, model.num_features))


def _run(
    sources: Iterable[Source],
    reader: Reader,
    backend: Backend,
    options: EngineOptions,
    num_features: int,
) -> Generator[Block, None, None]:
    """Batches in order, a bounded number ahead; which cutouts share one never depends on speed."""
    usual = CPU_BATCH_SIZE if backend.device == "cpu" else GPU_BATCH_SIZE
    batch_size, workers = options.batch_size or usual, options.workers or count_cores()

    def encode(read: ReadBlock) -> Block:
        encoded = None if read.pixels is None else backend.encode(read.pixels)
        return make_block(read, encoded, num_features=num_features)

    def encode_parts(device: Workers, parts: list[Future[ReadBlock]]) -> Block:
        while wait(parts, SLOW_SECONDS).not_done:
            if pool.aside:
                with device.step_aside():
                    wait(parts)
        read = join_blocks([part.result() for part in parts])
        try:
            return encode(read)
        except RuntimeError as error:
            said = str(error).partition("\n")[0]
            raise DeviceError(
                f"{backend.device} failed: {said}. The rows before are kept where a table is "
                "written: --resume goes on, with another --device or a smaller --batch-size if "
                "need be"
            ) from error

    def submit(batch: list[Source]) -> Future[Block]:
        if device is None:
            return pool.submit(lambda: encode(readers.read_block(batch)))
        parts = [pool.submit(partial(readers.read_block, part)) for part in chunk(batch, READ_SIZE)]
        return device.submit(partial(encode_parts, device, parts))

    with ExitStack() as stack:
        for context in (backend.guard(), keep_numpy_on_one_core(), stacks_in_use()):
            stack.enter_context(context)
        pool = Workers(workers, "galmorph", backend.start_worker)
        stack.callback(pool.close)
        device, ahead = None, BLOCKS_AHEAD * workers
        if backend.device != "cpu":
            threads = DEVICE_THREADS if backend.device.startswith("cuda") else 1
            device = Workers(threads, "galmorph-device", backend.start_worker)
            stack.callback(device.close)
            ahead = threads - BLOCKS_AHEAD * workers * READ_SIZE // -batch_size
        everything = device is not None or workers > MANY_WORKERS
        readers = stack.enter_context(closing(Readers(reader, pool, everything=everything)))
        most = max(ahead, ROWS_WAITING // batch_size)
        yield from _keep_order(map(submit, chunk(sources, batch_size)), pool, ahead, most)


def _keep_order(
    blocks: Iterator[Future[Block]], workers: Workers, ahead: int, most: int
) -> Iterator[Block]:
    """Results in order, a few ahead; up to the most while the first waits for a slow file."""
    pending: deque[Future[Block]] = deque()

    def can_go_on(most: int) -> bool:
        while not pending[0].done():
            busy = [block for block in pending if not block.done()]
            if workers.aside and len(busy) <= ahead + workers.aside and len(pending) < most:
                return True
            workers.awaited = True
            wait(busy, SLOW_SECONDS, FIRST_COMPLETED)
            workers.awaited = False
        return False

    for block in blocks:
        pending.append(block)
        while len(pending) > ahead and not can_go_on(most):
            yield pending.popleft().result()
    while pending and not can_go_on(0):
        yield pending.popleft().result()


def _join_quick(blocks: Generator[Block, None, None]) -> Generator[Block, None, None]:
    """Several blocks as one, where they come quickly; none is held back by an error after it."""
    held: list[Block] = []
    last = time.monotonic()
    with closing(blocks):
        try:
            for number, block in enumerate(blocks):
                held.append(block)
                late = time.monotonic() - last > SECONDS_TOGETHER or number < BATCHES_ALONE
                if late or len(held) == BATCHES_TOGETHER:
                    joined, held = concatenate_blocks(held), []
                    yield joined
                    last = time.monotonic()
        except Exception:
            if held:
                yield concatenate_blocks(held)
            raise
        if held:
            yield concatenate_blocks(held)
