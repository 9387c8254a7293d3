"""npy and npz, for embeddings.

``.npy`` holds the embeddings alone, float32 (n, d), in the order of the inputs. ``.npz`` holds one
array per column (``embedding``, ``object_id``, ``path``, ``flags``, ...) and ``provenance`` as JSON
text; ``numpy.load`` needs no ``allow_pickle``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from galmorph.tables.cells import Values
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.journal import Journal
from galmorph.tables.measure import Measure
from galmorph.tables.provenance import plain

__all__ = ["write_npy", "write_npz"]


def _dtype(spec: ColumnSpec, measure: Measure) -> np.dtype[Any]:
    return np.dtype(f"U{max(measure.length, 1)}" if spec.is_text else spec.dtype)


def _write_npy_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _to_bytes(values: Values, dtype: np.dtype[Any]) -> bytes:
    if isinstance(values, np.ma.MaskedArray):
        values = values.filled(0)
    return np.asarray(values, dtype=dtype).tobytes()


def write_npy(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write the one vector column as an array of shape (n, d).

    Parameters
    ----------
    rows : Journal
    meta : mapping
        Has no place there.
    path : Path
    """
    index = next(i for i, spec in enumerate(rows.specs) if spec.shape)
    spec = rows.specs[index]
    with path.open("wb") as file:
        _write_npy_header(file, (rows.rows_done, *spec.shape), np.dtype(spec.dtype))
        for columns in rows.values():
            file.write(_to_bytes(columns[index], np.dtype(spec.dtype)))


def write_npz(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write every column as an array of its own, uncompressed.

    Parameters
    ----------
    rows : Journal
    meta : mapping
    path : Path
    """
    dtypes = list(map(_dtype, rows.specs, rows.measures))
    with ExitStack() as stack:
        # A zip member must be written in one go, so each column is gathered in a file first.
        spools = [stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for _ in rows.specs]
        for columns in rows.values():
            for values, dtype, spool in zip(columns, dtypes, spools, strict=True):
                spool.write(_to_bytes(values, dtype))
        archive = stack.enter_context(zipfile.ZipFile(path, "w"))
        for spec, dtype, spool in zip(rows.specs, dtypes, spools, strict=True):
            spool.seek(0)
            with archive.open(f"{spec.name}.npy", "w", force_zip64=True) as member:
                _write_npy_header(member, (rows.rows_done, *spec.shape), dtype)
                shutil.copyfileobj(spool, member)
        _write_provenance(archive, meta)


def _write_provenance(archive: zipfile.ZipFile, meta: Mapping[str, Any]) -> None:
    text = np.array(json.dumps(plain(meta)))
    with archive.open("provenance.npy", "w") as member:
        np.lib.format.write_array(member, text, allow_pickle=False)
