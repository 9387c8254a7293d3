"""Rows on their way through a run: read, then with embeddings, always in the order of the sources.

No torch here: the processes that read import this.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from galmorph.errors import PixelError
from galmorph.flags import Flags
from galmorph.images.source import Source, make_printable
from galmorph.quantities import Array

T = TypeVar("T")

NO_LABEL_REASONS = {  # what the message says where no exception does
    Flags.CONSTANT: "the field of view is empty or has one value everywhere",
    Flags.ENCODE_FAILED: "the encoder gave values that are not finite",
    Flags.HEAD_FAILED: "the head gave numbers that are no shares: not finite, or of another sum",
}


@dataclass(slots=True)
class Row:
    """What is known of one source, which has no pixels any more, besides its embedding."""

    source: Source
    object_id: str
    path: str
    ra: float = math.nan  # degrees, ICRS
    dec: float = math.nan
    fov: float = math.nan  # arcseconds
    crop: float = math.nan  # of the frame
    flags: Flags = Flags.NONE
    message: str = ""  # why there is no label, or a remark
    notes: Mapping[str, str] = field(default_factory=dict)  # what was done to the pixels
    error: Exception | None = None  # what the message tells


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """Rows, which of them have pixels, and those pixels stacked (None where no row has any)."""

    rows: list[Row]
    good: list[int]
    pixels: Array | None


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows with their embeddings, (n, num_features); NaN for rows without a label."""

    rows: list[Row]
    embeddings: npt.NDArray[np.float32]


def to_one_dtype(pixels: Sequence[Array]) -> Sequence[Array]:
    """Pixels that can share a batch: float32 on [0, 1] as soon as some of them are."""
    if len({p.dtype for p in pixels}) < 2:
        return pixels
    return [p.astype(np.float32) / np.float32(255) if p.dtype == np.uint8 else p for p in pixels]


def join_blocks(blocks: Sequence[ReadBlock]) -> ReadBlock:
    """One block of all rows, its pixels of one dtype."""
    rows: list[Row] = []
    good: list[int] = []
    for block in blocks:
        good += [len(rows) + i for i in block.good]
        rows += block.rows
    pixels = to_one_dtype([b.pixels for b in blocks if b.pixels is not None])
    return ReadBlock(rows, good, np.concatenate(pixels) if pixels else None)


def make_block(read: ReadBlock, encoded: Array | None, *, num_features: int) -> Block:
    """Put embeddings beside their rows; those that are not finite take the label away."""
    rows, good = read.rows, read.good
    embeddings = np.full((len(rows), num_features), np.nan, dtype=np.float32)
    if encoded is not None:
        embeddings[good] = encoded
        for k in np.flatnonzero(~np.isfinite(encoded).all(axis=1)):
            row = rows[good[k]]
            embeddings[good[k]] = np.nan
            row.flags |= Flags.ENCODE_FAILED
            row.message = NO_LABEL_REASONS[Flags.ENCODE_FAILED]
            row.error = PixelError(f"{make_printable(row.source.address)}: {row.message}")
    return Block(rows, embeddings)


def concatenate_blocks(blocks: Sequence[Block]) -> Block:
    """One block of all rows."""
    if len(blocks) == 1:
        return blocks[0]
    rows = [row for block in blocks for row in block.rows]
    return Block(rows, np.concatenate([block.embeddings for block in blocks]))


def chunk(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` items, the last one shorter; taken from the iterable as they are needed."""
    iterator = iter(items)
    while block := list(itertools.islice(iterator, size)):
        yield block
