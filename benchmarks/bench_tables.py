"""Cost of writing results: microseconds a row and peak memory, per format.

Every run is a process of its own, so that its peak memory is its own. "append" is what a running
classification waits for; "finish" is the second pass that makes the final file. Both are processor
time, which other work on the machine disturbs less than the clock; writing is bound by it.

    python benchmarks/bench_tables.py                      # 1,000,000 rows of classes, 3 runs
    python benchmarks/bench_tables.py --kind embed --rows 20000
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = [
    "smooth_round",
    "smooth_cigar",
    "edge_on",
    "spiral",
    "barred_spiral",
    "irregular",
    "merger",
]
BLOCK = 256
FORMATS = {
    "classify": ["csv", "ecsv", "fits", "vot", "parquet", "jsonl"],
    "embed": ["csv", "fits", "vot", "parquet", "jsonl", "npy", "npz"],
}
MIB = 2**20


def make_block(start: int, generator: np.random.Generator, kind: str) -> dict[str, Any]:
    """Rows as a run gives them: one in a thousand could not be read."""
    rows = np.arange(start, start + BLOCK)
    failed = rows % 1000 == 0
    ids = [f"58772298418{number:07d}" for number in rows.tolist()]
    block: dict[str, Any] = {
        "object_id": ids,
        "path": [f"/data/survey/cutouts/{name}.jpg" for name in ids],
        "ra": generator.random(BLOCK) * 360,
        "dec": generator.random(BLOCK) * 180 - 90,
        "atypicality": generator.random(BLOCK, dtype=np.float32),
        "flags": failed.astype(np.int32),
        "message": ["cannot be read: the file is truncated" if bad else "" for bad in failed],
    }
    if kind == "embed":
        return {**block, "embedding": generator.random((BLOCK, 512), dtype=np.float32)}
    chances = generator.dirichlet(np.ones(len(CLASSES)), BLOCK).astype(np.float32)
    chances[failed] = np.nan
    best = chances.argmax(axis=1)
    block["label"] = [
        "" if bad else CLASSES[i] for i, bad in zip(best.tolist(), failed, strict=True)
    ]
    block["confidence"] = chances.max(axis=1)
    return block | {f"p_{name}": chances[:, i] for i, name in enumerate(CLASSES)}


def measure(form: str, kind: str, rows: int, folder: str) -> dict[str, float]:
    """Write one table in this process."""
    from galmorph.tables import open_writer, result_columns
    from galmorph.tables.columns import class_columns

    specs = result_columns(
        class_columns(CLASSES) if kind == "classify" else (),
        embedding_dim=512 if kind == "embed" else None,
    )
    generator = np.random.default_rng(0)
    path = Path(folder) / f"out.{form}"
    appending = 0.0
    writer = open_writer(path, specs, {"model": "benchmark"})
    for start in range(0, rows, BLOCK):
        block = make_block(start, generator, kind)
        began = time.process_time()
        writer.append(block)
        appending += time.process_time() - began
    began = time.process_time()
    writer.close()
    finishing = time.process_time() - began
    done = writer.rows_done
    return {
        "append": appending / done * 1e6,
        "finish": finishing / done * 1e6,
        "peak": _peak(),
        "size": path.stat().st_size / done,
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def run_child(form: str, kind: str, rows: int) -> dict[str, float]:
    """`measure` in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", form, "--kind", kind, "--rows", str(rows)]
        done = subprocess.run(
            [*command, "--folder", folder], capture_output=True, text=True, check=True
        )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def describe_machine() -> str:
    """Processor and versions, in one line."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "astropy", "pyarrow"))
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    machine = f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{machine}; Python {platform.python_version()}, {packages}"


def spread(values: list[float]) -> str:
    """Median, and least to greatest."""
    return f"{statistics.median(values):6.1f} ({min(values):.1f}-{max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=list(FORMATS), default="classify")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--formats", nargs="*")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.kind, options.rows, options.folder)))
        return
    print(describe_machine())
    print(f"{options.kind}, {options.rows} rows in blocks of {BLOCK}, {options.runs} runs")
    print("microseconds of processor time a row: median (least-most); MiB: greatest of all runs")
    print(
        f"{'format':8} {'append':20} {'finish':20} {'peak MiB':>9} {'at 1/10':>8} {'bytes/row':>9}"
    )
    for form in options.formats or FORMATS[options.kind]:
        runs = [run_child(form, options.kind, options.rows) for _ in range(options.runs)]
        few = run_child(form, options.kind, options.rows // 10)
        print(
            f"{form:8} {spread([r['append'] for r in runs]):20} "
            f"{spread([r['finish'] for r in runs]):20} {max(r['peak'] for r in runs):9.0f} "
            f"{few['peak']:8.0f} {runs[0]['size']:9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
