"""Sources to rows and prepared pixels, in order; whatever goes wrong with a file stays in its row.

Light on purpose: the processes of `galmorph.inference.nursery` import this, and no torch.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphError, NotAnsweredError, NotCoveredError, PixelError
from galmorph.flags import NO_LABEL, Flags
from galmorph.images.memory import InMemory, drop_pixels
from galmorph.images.read import read_cutout
from galmorph.images.source import Source, make_printable
from galmorph.preprocessing.pipeline import Placed, Prepared, Preprocessing
from galmorph.quantities import Array
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions

T = TypeVar("T")

NO_LABEL_REASONS = {  # what the message says where no exception does
    Flags.CONSTANT: "the field of view is empty or has one value everywhere",
    Flags.ENCODE_FAILED: "the encoder gave values that are not finite",
    Flags.HEAD_FAILED: "the head gave numbers that are no shares: not finite, or of another sum",
}
HELD_BYTES = 1 << 23  # of images that wait to be brought to the encoder's size together
FLAGS = {
    PixelError: Flags.BAD_PIXELS_REFUSED,
    NotCoveredError: Flags.READ_FAILED | Flags.NOT_COVERED,
    NotAnsweredError: Flags.READ_FAILED | Flags.NOT_ANSWERED,
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


def fail(row: Row, error: Exception) -> None:
    """Note why a row has no label."""
    row.flags |= FLAGS.get(type(error), Flags.READ_FAILED)
    row.error = error
    known = isinstance(error, (GalmorphError, ValueError, OSError))
    row.message = str(error) if known else f"{type(error).__name__}: {error}"


def fills_memory(row: Row) -> bool:
    """Whether there was not enough memory for it."""
    causes = (row.error, getattr(row.error, "__cause__", None))
    return any(isinstance(error, MemoryError) for error in causes)


@dataclass(frozen=True)
class Reader:
    """Settings of reading and preparing, and the work itself."""

    preprocessing: Preprocessing
    read: ReadOptions
    field: FieldOptions
    rendering: RenderOptions

    def read_block(
        self, sources: Sequence[Source], *, before: Callable[[Source], None] = lambda _: None
    ) -> ReadBlock:
        """Read and prepare some sources, in order; whatever goes wrong stays in its row."""
        rows: list[Row] = []
        pixels: dict[int, Array] = {}
        for group, found in self.read_groups(sources, before):
            pixels |= {len(rows) + k: image for k, image in found.items()}
            rows += group
        stacked = np.stack(to_one_dtype(list(pixels.values()))) if pixels else None
        return ReadBlock(rows, list(pixels), stacked)

    def read_groups(
        self, sources: Sequence[Source], before: Callable[[Source], None], most: int = sys.maxsize
    ) -> Iterator[tuple[list[Row], dict[int, Array]]]:
        """Rows that were prepared together, and their pixels; one that fills the memory ends them.

        What is to be done before each source may raise.
        """
        rows: list[Row] = []
        placed: dict[int, Placed] = {}
        room = HELD_BYTES
        for source in sources:
            before(source)
            row, part = self._place(source)
            if part is not None:
                placed[len(rows)] = part
                room -= _count_held_bytes(part.cutout.array, source)
            rows.append(row)
            if room < 0 or len(rows) == most or fills_memory(row):
                yield rows, self._finish(rows, placed)
                rows, placed, room = [], {}, HELD_BYTES
        if rows:
            yield rows, self._finish(rows, placed)

    def _place(self, source: Source) -> tuple[Row, Placed | None]:
        """Read one source, up to its field of view."""
        row = Row(drop_pixels(source), source.object_id, source.address)
        try:
            cutout = read_cutout(source, options=self.read)
            row.object_id = cutout.object_id or row.object_id
            row.path = row.path or cutout.path
            row.ra, row.dec = cutout.ra, cutout.dec
            row.flags, row.notes = cutout.flags, cutout.notes
            return row, self.preprocessing.place(cutout, field=self.field, rendering=self.rendering)
        except Exception as error:
            fail(row, error)
            return row, None

    def _finish(self, rows: Sequence[Row], placed: Mapping[int, Placed]) -> dict[int, Array]:
        """Pixels of those rows that have something to show."""
        if not placed:
            return {}
        prepared = None
        try:
            prepared = self.preprocessing.finish(list(placed.values()))
        except Exception as error:
            if len(placed) == 1:
                (k,) = placed
                fail(rows[k], error)
                return {}
        if prepared is None:  # one of them is at fault, or all are too much for the memory
            each = [self._finish(rows, {k: part}) for k, part in placed.items()]
            return {k: pixels for one in each for k, pixels in one.items()}
        pixels = {}
        for k, one in zip(placed, prepared, strict=True):
            _note_flags(rows[k], one)
            if not one.flags & NO_LABEL:
                pixels[k] = one.pixels
        return pixels


def _find_owner(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _count_held_bytes(array: Array, source: Source) -> int:
    """Of the whole image that the array may be a part of, where it is not the caller's own."""
    owner = _find_owner(array)
    given = source.data if isinstance(source, InMemory) else None
    if isinstance(given, np.ndarray) and _find_owner(given) is owner:
        return 0
    return owner.nbytes


def _note_flags(row: Row, prepared: Prepared) -> None:
    row.flags, row.fov, row.crop = row.flags | prepared.flags, prepared.fov, prepared.crop
    row.notes = dict(prepared.notes)
    row.message = row.notes.pop("message", "")
    for flag, reason in NO_LABEL_REASONS.items():
        if row.flags & flag:
            row.message = reason
            row.error = PixelError(f"{make_printable(row.source.address)}: {reason}")
