"""npy, for embeddings: float32 (n, d), in the order of the inputs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from galmorph.errors import TableFormatError
from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.formats.base import CHUNK_ROWS, Format, TableReader
from galmorph.tables.journal import Journal

VECTORS = "embedding"
"""Name of the one column, which the file does not hold."""


def _check(specs: Sequence[ColumnSpec]) -> None:
    if sum(bool(spec.shape) for spec in specs) != 1:
        raise TableFormatError("npy holds exactly one vector column; write .npz for several")


def _list_names(specs: Sequence[ColumnSpec]) -> list[str]:
    return [VECTORS]


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """What stands ahead of the numbers."""
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def to_bytes(values: Values, dtype: np.dtype[Any]) -> bytes:
    """The numbers; 0 where one is missing."""
    if isinstance(values, np.ma.MaskedArray):
        values = values.filled(0)
    return np.asarray(values, dtype=dtype).tobytes()


def write(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write the one vector column; provenance has no place there."""
    index, spec = next((i, spec) for i, spec in enumerate(rows.specs) if spec.shape)
    dtype = np.dtype(spec.dtype)
    with path.open("wb") as file:
        write_header(file, (rows.rows_done, *spec.shape), dtype)
        file.writelines(to_bytes(columns[index], dtype) for columns in rows.values())


class NpyReader(TableReader):
    """Vectors without names."""

    def _open(self) -> dict[str, ColumnSpec | None]:
        array = np.load(self.path, mmap_mode="r")
        return {VECTORS: ColumnSpec(VECTORS, array.dtype.name, shape=array.shape[1:])}

    def _read(self) -> Iterator[dict[str, Values]]:
        array, spec = np.load(self.path, mmap_mode="r"), self.specs[VECTORS]
        for start in range(0, len(array), CHUNK_ROWS):
            assert spec is not None
            yield {VECTORS: normalize(array[start : start + CHUNK_ROWS], spec)}


FORMAT = Format(
    "npy",
    (".npy",),
    NpyReader,
    write,
    kinds=("embed",),
    catalogue=False,
    provenance=False,
    check=_check,
    list_names=_list_names,
)
