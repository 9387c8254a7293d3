"""From blocks of rows and embeddings to columns of a result."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galmorph.flags import NO_LABEL, Flags
from galmorph.heads import Head
from galmorph.inference.reading import NO_LABEL_REASONS, Block, Row
from galmorph.model import Model
from galmorph.quantities import Array, to_degrees
from galmorph.tables.cells import join_values
from galmorph.tables.columns import ColumnSpec, probability_name, result_columns
from galmorph.typicality import ATYPICAL_PERCENTILE, Typicality

# By which the sum of probabilities may differ from one: half precision has as much.
SUM_TOLERANCE = 1e-3
_FOV = "Side of the field of view that the encoder saw; NaN without a pixel scale"
_CROP = "The same side as a fraction of the frame's shorter side"
_TREATMENT = "What was done to the pixels, as key=value pairs"
TREATMENT_COLUMNS = (
    ColumnSpec("fov", "float32", "arcsec", "pos.angDistance;instr.fov", _FOV),
    ColumnSpec("crop", "float32", "", "pos.angDistance;arith.ratio", _CROP),
    ColumnSpec("treatment", "str", "", "meta.note", _TREATMENT),
)


@dataclass(frozen=True)
class ResultPlan:
    """Which columns a run gives, and how they are filled."""

    model: Model
    head: Head | None = None  # embeddings alone
    with_embedding: bool = False  # a vector column
    carried: tuple[ColumnSpec, ...] = ()  # columns of a catalogue
    coverage: float | None = None  # of sets of classes: they hold the truth so often

    @property
    def typicality(self) -> Typicality | None:
        """What training data look like: those of the head, where it knows, else of the model."""
        own = None if self.head is None else self.head.typicality
        return own if own is not None else self.model.typicality

    @property
    def specs(self) -> tuple[ColumnSpec, ...]:
        """The columns in order."""
        width = self.model.num_features
        return result_columns(
            (*(self.head.columns() if self.head else ()), *self._set_column()),
            embedding_dim=width if self.with_embedding else None,
            atypicality=self.typicality is not None,
            extra=TREATMENT_COLUMNS,
            carried=self.carried,
        )

    def _set_column(self) -> tuple[ColumnSpec, ...]:
        if self.coverage is None or self.head is None:
            return ()
        text = (
            f"Classes, one of them right for {self.coverage:.4g} of the cutouts of each class that "
            f"are like {self.head.notes.get('calibrated_on', 'those that the head was fitted on')}"
        )
        return (ColumnSpec("label_set", "str", ucd="meta.code.class", description=text),)

    def fill(self, block: Block) -> dict[str, Any]:
        """Columns of one block by name: one value per row; embeddings (n, num_features)."""
        rows = block.rows
        positions = np.array([_find_position(row) for row in rows], np.float64).reshape(-1, 2)
        columns: dict[str, Any] = {
            "object_id": [row.object_id for row in rows],
            "path": [row.path for row in rows],
            "ra": positions[:, 0],
            "dec": positions[:, 1],
            "fov": np.array([row.fov for row in rows], dtype=np.float32),
            "crop": np.array([row.crop for row in rows], dtype=np.float32),
            "treatment": ["; ".join(f"{k}={v}" for k, v in row.notes.items()) for row in rows],
        }
        if self.with_embedding:
            columns["embedding"] = block.embeddings
        if self.typicality is not None:
            columns["atypicality"] = self._fill_atypicality(self.typicality, block)
        if self.head is not None:
            columns |= self._fill_head(self.head, block)
        columns["message"] = [row.message for row in rows]
        columns["flags"] = np.array([int(row.flags) for row in rows], dtype=np.int32)
        for spec in self.carried:
            columns[spec.name] = [row.source.columns[spec.name] for row in rows]
        return columns

    def _fill_atypicality(self, typicality: Typicality, block: Block) -> Any:
        good = [i for i, row in enumerate(block.rows) if not row.flags & NO_LABEL]
        values = np.full(len(block.rows), np.nan, dtype=np.float32)
        if good:
            values[good] = typicality.compute_atypicality(block.embeddings[good])
        for i in good:
            if values[i] > ATYPICAL_PERCENTILE:
                block.rows[i].flags |= Flags.ATYPICAL
        frames = self.model.typicality and self.model.typicality.frames
        if frames and good:
            for i in np.array(good)[frames.measure(block.embeddings[good]) > 0]:
                block.rows[i].flags |= Flags.BADLY_FRAMED
        return values

    def _fill_head(self, head: Head, block: Block) -> dict[str, Any]:
        columns = head.fill(block.embeddings)
        _take_away(columns, _find_odd(head, columns), block)
        if self.coverage is not None:
            columns["label_set"] = head.find_sets(block.embeddings, self.coverage)
        for name in columns.keys() & {"label", "label_set"}:
            columns[name] = [
                "" if row.flags & NO_LABEL else text
                for row, text in zip(block.rows, columns[name], strict=True)
            ]
        return columns


def _find_odd(head: Head, columns: Mapping[str, Any]) -> Array:
    """Rows, (n,), whose numbers are not finite, or whose probabilities do not sum to one."""
    numbers = np.stack([columns[spec.name] for spec in head.columns() if spec.is_float], axis=1)
    odd: Array = ~np.isfinite(numbers).all(axis=1)
    classes = [probability_name(name) for name in getattr(head, "class_names", ())]
    if classes:
        total = sum(np.asarray(columns[name], dtype=np.float64) for name in classes)
        odd |= ~(np.abs(total - 1) < SUM_TOLERANCE)
    return odd


def _take_away(columns: Mapping[str, Any], odd: Array, block: Block) -> None:
    """Flag these rows, unless they have no label anyway, and leave them no numbers."""
    for k in np.flatnonzero(odd):
        row = block.rows[k]
        if not row.flags & NO_LABEL:
            row.flags |= Flags.HEAD_FAILED
            row.message = NO_LABEL_REASONS[Flags.HEAD_FAILED]
        for values in columns.values():
            if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                values[k] = np.nan


def _find_position(row: Row) -> tuple[float, float]:
    """By the WCS; else by the columns of the row, which know better than a name does."""
    columns = row.source.columns
    by_wcs = not math.isnan(row.ra) and "position" not in row.notes
    if by_wcs or not columns.keys() >= {"ra", "dec"}:
        return row.ra, row.dec
    ra, dec = to_degrees(columns["ra"], hours=True), to_degrees(columns["dec"], hours=False)
    if not math.isnan(row.ra) and (math.isnan(ra) or math.isnan(dec)):
        return row.ra, row.dec
    row.notes = {key: value for key, value in row.notes.items() if key != "position"}
    return ra, dec


def concatenate(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the columns of several blocks."""
    return {name: join_values([b[name] for b in blocks]) for name in (blocks[0] if blocks else ())}
