"""Sources to rows and prepared pixels; whatever goes wrong with a file stays in its row.

Light on purpose: the processes of `galmorph.inference.reading_process` import this, and no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphError, PixelError
from galmorph.flags import NO_LABEL, Flags
from galmorph.images.options import ReadOptions
from galmorph.images.read import read_cutout
from galmorph.images.source import Source
from galmorph.inference.blocks import NO_LABEL_REASONS, ReadBlock, Row, to_one_dtype
from galmorph.preprocessing.pipeline import FieldOptions, Prepared, Preprocessing
from galmorph.preprocessing.render import RenderOptions

__all__ = ["Reader"]


def _fail(row: Row, error: Exception) -> None:
    refused = isinstance(error, PixelError)
    row.flags |= Flags.BAD_PIXELS_REFUSED if refused else Flags.READ_FAILED
    row.error = error
    known = isinstance(error, (GalmorphError, ValueError, OSError))
    row.message = str(error) if known else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Reader:
    """Settings of reading and preparing, and the work itself.

    Attributes
    ----------
    preprocessing : Preprocessing
    read, field, rendering
        Settings of the stages.
    """

    preprocessing: Preprocessing
    read: ReadOptions
    field: FieldOptions
    rendering: RenderOptions

    def read_row(self, source: Source) -> tuple[Row, npt.NDArray[Any] | None]:
        """Read and prepare one source; whatever goes wrong stays in its row."""
        row = Row(replace(source, data=None), source.object_id, source.address)
        try:
            cutout = read_cutout(source, options=self.read)
            row.object_id = cutout.object_id or row.object_id
            row.path = row.path or cutout.path
            row.ra, row.dec, row.pixel_scale = cutout.ra, cutout.dec, cutout.pixel_scale
            row.flags = cutout.flags
            prepared: Prepared = self.preprocessing.prepare(
                cutout, field=self.field, rendering=self.rendering
            )
        except Exception as error:
            _fail(row, error)
            return row, None
        row.flags, row.fov, row.crop = prepared.flags, prepared.fov, prepared.crop
        row.notes = {**cutout.notes, **prepared.notes}
        for flag, reason in NO_LABEL_REASONS.items():
            if row.flags & flag:
                row.message = reason
                row.error = PixelError(f"{source.location}: {reason}")
        return row, None if row.flags & NO_LABEL else prepared.pixels

    def read_block(self, sources: Sequence[Source]) -> ReadBlock:
        """Read and prepare some sources, in order."""
        pairs = [self.read_row(source) for source in sources]
        good = [i for i, (_, pixels) in enumerate(pairs) if pixels is not None]
        pixels = [p for _, p in pairs if p is not None]
        stacked = np.stack(to_one_dtype(pixels)) if pixels else None
        return ReadBlock([row for row, _ in pairs], good, stacked)
