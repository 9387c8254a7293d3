"""A run that writes slowly, to be killed: python slow_writer.py OUT ROWS PAUSE [STALE]."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.tables import ColumnSpec, TableWriter, open_writer, owner, result_columns
from galmorph.tables.columns import class_columns

BLOCK = 64
META = {"model": "toy", "note": "é"}
NAMES = ["plain", "line\nbreak", 'quote " comma ,', "galáxia", "#", ""]


def make_specs() -> tuple[ColumnSpec, ...]:
    return result_columns(class_columns(["smooth", "spiral"]), embedding_dim=64)


def make_rows(numbers: list[int]) -> dict[str, Any]:
    rows = np.array(numbers)
    names = [f"{number}{NAMES[number % len(NAMES)]}" for number in numbers]
    chance = (rows % 101 / 101).astype(np.float32)
    return {
        "object_id": names,
        "path": [f"{name}.jpg" for name in names],
        "ra": rows / 1000,
        "dec": np.where(rows % 3, rows / 7, np.nan),
        "label": ["spiral" if number % 2 else "" for number in numbers],
        "confidence": chance,
        "p_smooth": chance,
        "p_spiral": 1 - chance,
        "embedding": np.outer(chance, np.arange(64)).astype(np.float32),
        "atypicality": chance,
        "flags": rows.astype(np.int32),
        "message": ["é, gone" if number % 11 == 0 else "" for number in numbers],
    }


def key_of(number: int) -> tuple[str, str]:
    name = f"{number}{NAMES[number % len(NAMES)]}"
    return name, f"{name}.jpg"


def open_run(path: Path, rows: int) -> TableWriter:
    return open_writer(path, make_specs(), META, fingerprint={"rows": rows}, resume=True)


def write_rest(writer: TableWriter, rows: int, pause: float) -> None:
    rest: Iterator[int] = writer.skip_done(range(rows), key=key_of)
    with writer:
        block: list[int] = []
        for number in rest:
            block.append(number)
            if len(block) == BLOCK:
                writer.append(make_rows(block))
                block = []
                time.sleep(pause)
        if block:
            writer.append(make_rows(block))


if __name__ == "__main__":
    count, wait = int(sys.argv[2]), float(sys.argv[3])
    owner.STALE_S = float(sys.argv[4]) if sys.argv[4:] else owner.STALE_S
    run = open_run(Path(sys.argv[1]), count)
    print("ready", flush=True)
    write_rest(run, count, wait)
