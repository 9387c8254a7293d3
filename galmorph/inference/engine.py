"""Sources in, embeddings out: read, prepare and encode overlapped, order kept, bad files flagged.

On the CPU every worker thread takes one batch through all stages, with one compute thread of its
own: decoding and encoding share the cores without ever waiting for each other. With a GPU the
workers read and prepare, and the calling thread feeds the device.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphError, PixelError
from galmorph.flags import NO_LABEL, Flags
from galmorph.images.options import ReadOptions
from galmorph.images.read import read_cutout
from galmorph.images.source import Source
from galmorph.inference.backends import Backend, open_backend
from galmorph.inference.cores import count_cores, keep_numpy_on_one_core
from galmorph.model import Model
from galmorph.preprocessing.pipeline import FieldOptions, Prepared
from galmorph.preprocessing.render import RenderOptions

__all__ = ["Block", "EngineOptions", "Row", "run_inference"]

CPU_BATCH_SIZE = 32
GPU_BATCH_SIZE = 512
BLOCKS_AHEAD = 2
"""Blocks under way per worker: enough that nobody waits, few enough that memory stays flat."""


@dataclass(frozen=True)
class EngineOptions:
    """How the work is done; none of it changes a result beyond the precision's rounding.

    Attributes
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    batch_size : int or None
        Cutouts encoded together; None chooses by device.
    workers : int or None
        Threads that read and prepare (and, on the CPU, encode); None takes every core.
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
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


@dataclass(slots=True)
class Row:
    """What is known of one source besides its embedding.

    Attributes
    ----------
    source : Source
        Without the pixels, where they were in memory.
    object_id, path : str
        As they go into the table.
    ra, dec, pixel_scale : float
        Degrees, ICRS, and arcseconds per pixel; NaN where unknown.
    fov, crop : float
        Field of view in arcseconds and as a fraction of the frame.
    flags : Flags
    message : str
        Why there is no label; "" where there is one.
    notes : mapping
        What was done to the pixels.
    error : Exception or None
        What `message` tells, for callers that want it raised.
    """

    source: Source
    object_id: str
    path: str
    ra: float = math.nan
    dec: float = math.nan
    pixel_scale: float = math.nan
    fov: float = math.nan
    crop: float = math.nan
    flags: Flags = Flags.NONE
    message: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows with their embeddings, (n, num_features); NaN for rows without a label."""

    rows: list[Row]
    embeddings: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Job:
    """What every worker needs."""

    model: Model
    backend: Backend
    read: ReadOptions
    field: FieldOptions
    rendering: RenderOptions


_NO_LABEL_REASONS = {
    Flags.CONSTANT: "the field of view is empty or has one value everywhere",
    Flags.ENCODE_FAILED: "the encoder gave values that are not finite",
}


def _fail(row: Row, error: Exception) -> None:
    refused = isinstance(error, PixelError)
    row.flags |= Flags.BAD_PIXELS_REFUSED if refused else Flags.READ_FAILED
    row.error = error
    known = isinstance(error, (GalmorphError, ValueError, OSError))
    row.message = str(error) if known else f"{type(error).__name__}: {error}"


def _read_row(source: Source, job: _Job) -> tuple[Row, npt.NDArray[Any] | None]:
    """Read and prepare one source; whatever goes wrong stays in its row."""
    row = Row(replace(source, data=None), source.object_id, source.location)
    try:
        cutout = read_cutout(source, options=job.read)
        row.object_id = cutout.object_id or row.object_id
        row.ra, row.dec, row.pixel_scale = cutout.ra, cutout.dec, cutout.pixel_scale
        row.flags = cutout.flags
        prepared: Prepared = job.model.preprocessing.prepare(
            cutout, field=job.field, rendering=job.rendering
        )
    except Exception as error:
        _fail(row, error)
        return row, None
    row.flags, row.fov, row.crop = prepared.flags, prepared.fov, prepared.crop
    row.notes = {**cutout.notes, **prepared.notes}
    for flag, reason in _NO_LABEL_REASONS.items():
        if row.flags & flag:
            row.message = reason
            row.error = PixelError(f"{row.path}: {reason}")
    return row, None if row.flags & NO_LABEL else prepared.pixels


def _stack(pixels: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """One batch; float32 on [0, 1] as soon as one of them is."""
    if all(p.dtype == np.uint8 for p in pixels):
        return np.stack(pixels)
    return np.stack(
        [p.astype(np.float32) / np.float32(255) if p.dtype == np.uint8 else p for p in pixels]
    )


def _read_block(
    sources: list[Source], job: _Job
) -> tuple[list[Row], list[int], npt.NDArray[Any] | None]:
    """Rows, which of them have pixels, and those pixels stacked."""
    pairs = [_read_row(source, job) for source in sources]
    good = [i for i, (_, pixels) in enumerate(pairs) if pixels is not None]
    pixels = [p for _, p in pairs if p is not None]
    return [row for row, _ in pairs], good, _stack(pixels) if pixels else None


def _encode_block(
    rows: list[Row], good: list[int], pixels: npt.NDArray[Any] | None, *, job: _Job
) -> Block:
    embeddings = np.full((len(rows), job.model.num_features), np.nan, dtype=np.float32)
    if pixels is not None:
        embeddings[good] = job.backend.encode(pixels)
    for i in good:
        if not np.isfinite(embeddings[i]).all():
            embeddings[i] = np.nan
            rows[i].flags |= Flags.ENCODE_FAILED
            rows[i].message = _NO_LABEL_REASONS[Flags.ENCODE_FAILED]
            rows[i].error = PixelError(f"{rows[i].path}: {rows[i].message}")
    return Block(rows, embeddings)


def _process_block(sources: list[Source], job: _Job) -> Block:
    rows, good, pixels = _read_block(sources, job)
    return _encode_block(rows, good, pixels, job=job)


def _chunk(sources: Iterable[Source], size: int) -> Iterator[list[Source]]:
    iterator = iter(sources)
    while block := list(itertools.islice(iterator, size)):
        yield block


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
    read = replace(read or ReadOptions(), min_side=model.preprocessing.min_side(field))
    job = _Job(model, backend, read, field, rendering or RenderOptions())
    usual = CPU_BATCH_SIZE if backend.in_workers else GPU_BATCH_SIZE
    return _run(sources, job, options.batch_size or usual, options.workers or count_cores())


def _run(sources: Iterable[Source], job: _Job, batch_size: int, workers: int) -> Iterator[Block]:
    in_workers = job.backend.in_workers
    work: Any = _process_block if in_workers else _read_block
    pending: deque[Future[Any]] = deque()

    def next_block() -> Block:
        result: Any = pending.popleft().result()
        return result if in_workers else _encode_block(*result, job=job)

    with job.backend.guard(), keep_numpy_on_one_core():
        pool = ThreadPoolExecutor(workers, "galmorph", initializer=job.backend.start_worker)
        try:
            for block in _chunk(sources, batch_size):
                pending.append(pool.submit(work, block, job))
                if len(pending) > BLOCKS_AHEAD * workers:
                    yield next_block()
            while pending:
                yield next_block()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
