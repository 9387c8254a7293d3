"""npz, for embeddings: one array per column, and ``provenance`` as JSON text, without pickles."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.formats.base import CHUNK_ROWS, Format, TableReader, make_spec
from galmorph.tables.formats.npy import to_bytes, write_header
from galmorph.tables.journal import Journal
from galmorph.tables.provenance import plain

PROVENANCE = "provenance"


def write(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
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


FORMAT = Format("npz", (".npz",), NpzReader, write, kinds=("embed",), catalogue=False)
