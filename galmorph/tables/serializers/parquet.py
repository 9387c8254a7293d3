"""Parquet, through pyarrow.

Unit, UCD and description stand in the metadata of each field; the provenance as JSON in the
metadata of the schema under "galmorph"; and astropy's own ``table_meta_yaml`` and lengths of
strings, so that ``Table.read`` gives units and descriptions back without a warning; it cannot read
null strings, so that empty ones stay empty. Vectors are lists of fixed size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.tables.cells import Values, missing_values
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import readable
from galmorph.tables.journal import Journal
from galmorph.tables.lines import make_header
from galmorph.tables.provenance import flatten_meta, plain

__all__ = ["write_parquet"]

ROW_GROUP_BYTES = 32 << 20
"""Values are gathered to about that many bytes before they are written as one row group."""


def _arrow_type(spec: ColumnSpec) -> Any:
    import pyarrow as pa

    scalar = pa.string() if spec.is_text else pa.from_numpy_dtype(np.dtype(spec.dtype))
    return pa.list_(scalar, spec.shape[0]) if spec.shape else scalar


def _arrow_field(spec: ColumnSpec) -> Any:
    import pyarrow as pa

    facts = {"unit": spec.unit, "ucd": spec.ucd, "description": spec.description}
    metadata = {key: value for key, value in facts.items() if value}
    return pa.field(spec.name, _arrow_type(spec), metadata=metadata or None)


def _arrow_schema(rows: Journal, meta: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    yaml = "\n".join(make_header(rows.specs, flatten_meta(meta))[2:])
    metadata = {"galmorph": json.dumps(plain(meta)), "table_meta_yaml": yaml}
    for spec, measure in zip(rows.specs, rows.measures, strict=True):
        if spec.is_text:
            metadata[f"table::len::{spec.name}"] = str(max(measure.length, 1))
    return pa.schema([_arrow_field(spec) for spec in rows.specs], metadata=metadata)


def _arrow_array(values: Values, spec: ColumnSpec) -> Any:
    import pyarrow as pa

    if isinstance(values, list):
        return pa.array([readable(value) for value in values], type=pa.string())
    missing = missing_values(values)
    mask = missing if missing.any() and not spec.is_float else None
    plain_values = np.ma.getdata(values)
    if spec.shape:
        return pa.FixedSizeListArray.from_arrays(pa.array(plain_values.ravel()), spec.shape[0])
    return pa.array(plain_values, mask=mask)


def write_parquet(rows: Journal, meta: Mapping[str, Any], path: Path) -> None:
    """Write one Parquet file, zstd-compressed, in row groups.

    Parameters
    ----------
    rows : Journal
    meta : mapping
    path : Path
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = _arrow_schema(rows, meta)
    batches: list[Any] = []
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for columns in rows.values():
            arrays = [_arrow_array(v, spec) for v, spec in zip(columns, rows.specs, strict=True)]
            batches.append(pa.record_batch(arrays, schema=schema))
            if sum(batch.nbytes for batch in batches) > ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(batches))
                batches = []
        if batches:
            writer.write_table(pa.Table.from_batches(batches))
