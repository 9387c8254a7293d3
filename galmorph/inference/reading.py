"""Sources to rows and prepared pixels; whatever goes wrong with a file stays in its row.

Light on purpose: the processes of `galmorph.inference.nursery` import this, and no torch.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from galmorph.errors import GalmorphError, NotAnsweredError, NotCoveredError, PixelError
from galmorph.flags import NO_LABEL, Flags
from galmorph.images.memory import InMemory, drop_pixels
from galmorph.images.read import read_cutout
from galmorph.images.source import Source, make_printable
from galmorph.inference.blocks import NO_LABEL_REASONS, ReadBlock, Row, to_one_dtype
from galmorph.preprocessing.pipeline import Placed, Prepared, Preprocessing
from galmorph.quantities import Array
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions

HELD_BYTES = 1 << 23  # of images that wait to be brought to the encoder's size together
FLAGS = {
    PixelError: Flags.BAD_PIXELS_REFUSED,
    NotCoveredError: Flags.READ_FAILED | Flags.NOT_COVERED,
    NotAnsweredError: Flags.READ_FAILED | Flags.NOT_ANSWERED,
}


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
