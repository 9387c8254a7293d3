"""npy, float32 (n, d) and nothing else; npz, an array per column, and ``provenance`` as JSON."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from galmorph.errors import TableFormatError
from galmorph.quantities import plain
from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.formats.base import CHUNK_ROWS, Format, TableReader, make_spec
from galmorph.tables.journal import Journal

PROVENANCE = "provenance"
VECTORS = "embedding"  # name of the one column, which the file does not hold


def _check(specs: Sequence[ColumnSpec]) -> None:
    if sum(bool(spec.shape) for spec in specs) != 1:
        raise TableFormatError("npy holds exactly one vector column; write .npz for several")


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """What stands ahead of the numbers."""
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def to_bytes(values: Values, dtype: np.dtype[Any]) -> bytes:
    """The numbers; 0 where one is missing."""
    if isinstance(values, np.ma.MaskedArray):
        values = values.filled(0)
    return np.asarray(values, dtype=dtype).tobytes()


def write_npy(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
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


def write_npz(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write every column as an array of its own, uncompressed."""
    dtypes = [
        np.dtype(f"U{max(measure.length, 1)}" if spec.is_text else spec.dtype)
        for spec, measure in zip(rows.specs, rows.measure(), strict=True)
    ]
    with ExitStack() as stack:
        # A zip member must be written in one go, so each column is gathered in a file first.
        spools = [stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for _ in rows.specs]
        for columns in rows.values():
            for values, dtype, spool in zip(columns, dtypes, spools, strict=True):
                spool.write(to_bytes(values, dtype))
        archive = stack.enter_context(zipfile.ZipFile(path, "w"))
        for spec, dtype, spool in zip(rows.specs, dtypes, spools, strict=True):
            spool.seek(0)
            with archive.open(f"{spec.name}.npy", "w", force_zip64=True) as member:
                write_header(member, (rows.rows_done, *spec.shape), dtype)
                shutil.copyfileobj(spool, member)
        with archive.open(f"{PROVENANCE}.npy", "w") as member:
            text = np.array(json.dumps(plain(meta)))
            np.lib.format.write_array(member, text, allow_pickle=False)


class NpzReader(TableReader):
    """Columns of a result, each read whole."""

    def _open(self) -> dict[str, ColumnSpec | None]:
        with self.path.open("rb") as file, np.load(file) as arrays:
            self.check_unpacked(sum(info.file_size for info in arrays.zip.infolist()))
            self.provenance = json.loads(arrays[PROVENANCE].item())
            names = [name for name in arrays.files if name != PROVENANCE]
            return {n: make_spec(n, arrays[n].dtype, arrays[n].shape[1:]) for n in names}

    def _read(self) -> Iterator[dict[str, Values]]:
        wanted = self.wanted()
        with self.path.open("rb") as file, np.load(file) as found:
            arrays = {name: found[name] for name in wanted}
        for start in range(0, min(map(len, arrays.values()), default=0), CHUNK_ROWS):
            stop = start + CHUNK_ROWS
            yield {name: normalize(arrays[name][start:stop], s) for name, s in wanted.items()}


NPY = Format(
    *("npy", (".npy",), NpyReader, write_npy, ("embed",)),
    provenance=False,
    check=_check,
    list_names=lambda specs: [VECTORS],
)
NPZ = Format("npz", (".npz",), NpzReader, write_npz, ("embed",))
