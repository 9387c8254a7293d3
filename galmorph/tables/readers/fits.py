"""FITS tables, memory-mapped; the first of the file that is no header of SExtractor's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import DTYPES, ColumnSpec, nearest_dtype
from galmorph.tables.escape import unescape_all
from galmorph.tables.readers.base import CHUNK_ROWS, TableReader, unreadable

__all__ = ["FitsReader"]


LDAC_HEADER = "LDAC_IMHEAD"
"""Ahead of each catalogue in a FITS_LDAC file stands the header of its image, as a table."""


class FitsReader(TableReader):
    """Rows of a FITS table.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CatalogueError
        Where the file is damaged or holds no table.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._open() as hdus:
            hdu = self._table(hdus)
            self.specs = {
                column.name: _spec(column, hdu, number)
                for number, column in enumerate(hdu.columns, 1)
            }

    def _open(self) -> Any:
        from astropy.io import fits

        try:
            return fits.open(self.path, memmap=True)
        except (OSError, EOFError, ValueError) as error:
            raise unreadable(self.path, error) from error

    def _table(self, hdus: Any) -> Any:
        try:
            tables = [
                hdu
                for hdu in hdus
                if hasattr(hdu, "columns") and hdu.name != LDAC_HEADER and hdu.data is not None
            ]
        except (OSError, TypeError, ValueError) as error:
            raise unreadable(self.path, error) from error
        if not tables:
            raise CatalogueError(f"{self.path}: holds no table")
        return tables[0]

    def chunks(self) -> Iterator[dict[str, Values]]:
        """Read from the first row; see `TableReader.chunks`."""
        with self._open() as hdus:
            hdu = self._table(hdus)
            ours = "GALMORPH" in hdu.header
            columns = [(c, self.specs[c.name]) for c in hdu.columns if self.specs[c.name]]
            for start in range(0, len(hdu.data), CHUNK_ROWS):
                rows = hdu.data[start : start + CHUNK_ROWS]
                yield {c.name: _values(_field(rows, c), c, s, ours) for c, s in columns if s}


def _spec(column: Any, hdu: Any, number: int) -> ColumnSpec | None:
    values = _field(hdu.data[:1], column)
    dtype = "str" if values.dtype.kind in "SU" else values.dtype.newbyteorder("=").name
    dtype = nearest_dtype(dtype)
    shape = tuple(values.shape[1:])
    if dtype not in DTYPES or len(shape) > 1 or 0 in shape or (shape and dtype in DTYPES[:2]):
        return None
    facts = [str(hdu.header.get(f"{key}{number}", "")) for key in ("TUNIT", "TUCD", "TCOMM")]
    unit, ucd, comment = unescape_all(facts) if "GALMORPH" in hdu.header else facts
    return ColumnSpec(column.name, dtype, unit, ucd, comment, shape)


def _field(rows: Any, column: Any) -> Any:
    """Values as astropy converts them, but logicals masked where they are undefined."""
    if str(column.format) not in ("L", "1L"):
        return rows[column.name]
    stored = rows.view(np.ndarray)[column.name]
    return np.ma.MaskedArray(stored == ord("T"), mask=stored == 0)


def _values(values: Any, column: Any, spec: ColumnSpec, ours: bool) -> Values:
    if column.null is not None and values.dtype.kind in "iu":
        values = _mask_null(values, column)
    if spec.is_text:
        array = np.ma.asarray(values) if np.ma.isMaskedArray(values) else np.asarray(values)
        texts = normalize(np.char.rstrip(array) if array.dtype.kind in "SU" else array, spec)
        return unescape_all(texts) if ours and isinstance(texts, list) else texts
    return normalize(values, spec)


def _mask_null(values: Any, column: Any) -> Any:
    """Mask what TNULL names: a stored value, or with some writers (astropy) a converted one."""
    stored = column.null + int(column.bzero or 0)
    return np.ma.masked_where((values == stored) | (values == column.null), values)
