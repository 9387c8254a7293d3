"""Read a written table with other people's readers, as plain lists; None where it is missing."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning


def read_csv(path: Path) -> dict[str, list[Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    columns = {name: list(cells) for name, *cells in zip(*rows, strict=True)}
    parts = [columns.pop(f"e_{index:03d}") for index in range(3)]
    columns["embedding"] = [list(row) for row in zip(*parts, strict=True)]
    return columns


def read_jsonl(path: Path) -> dict[str, list[Any]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    return {name: [row[name] for row in rows] for name in rows[0]}


def read_table(path: Path, *, percent: bool = False) -> dict[str, list[Any]]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Column 'barred' contains NULL", AstropyUserWarning)
        table = Table.read(path)
    columns = {}
    for name in table.colnames:
        column = table[name]
        values = column.tolist()
        if column.dtype.kind == "S":
            values = [
                value.decode("ascii") if isinstance(value, bytes) else value for value in values
            ]
        if percent and column.dtype.kind in "SU":
            values = [value and unquote(value, errors="surrogateescape") for value in values]
        columns[name] = values
    return columns


def read_parquet(path: Path) -> dict[str, list[Any]]:
    from pyarrow import parquet

    read: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    return read


def read_npz(path: Path) -> dict[str, list[Any]]:
    with np.load(path) as arrays:
        return {name: arrays[name].tolist() for name in arrays if name != "provenance"}


READERS = {
    "csv": read_csv,
    "ecsv": lambda path: read_table(path, percent=True),
    "fits": lambda path: read_table(path, percent=True),
    "vot": read_table,
    "parquet": read_parquet,
    "jsonl": read_jsonl,
    "npz": read_npz,
}
