"""A query among a million embeddings: time, memory.

    python benchmarks/bench_search.py --rows 1000000

Random unit vectors of 512 numbers as float16 in a file (1 GB, in --folder), mapped as those of a result are. Measured
are processor and wall time of one exact query, the median of --runs after a first one, and the peak of resident memory of
the whole process, torch among it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from common import print_machine

from galmorph.neighbours.vectors import compute_similarity

WIDTH = 512
AT_ONCE = 50_000


def write(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    mapped = np.lib.format.open_memmap(path, "w+", np.float16, (rows, WIDTH))
    for start in range(0, rows, AT_ONCE):
        block = rng.standard_normal((min(AT_ONCE, rows - start), WIDTH), dtype=np.float32)
        mapped[start : start + AT_ONCE] = block / np.linalg.norm(block, axis=1, keepdims=True)
    mapped.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the file is made and kept")
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as temporary:
        path = (options.folder or Path(temporary)) / f"vectors_{options.rows}.npy"
        if not path.exists():
            write(path, options.rows)
        measure(path, options.runs)


def measure(path: Path, runs: int) -> None:
    vectors = np.load(path, mmap_mode="c")
    query = np.asarray(vectors[7:8], dtype=np.float32)
    took = []
    for _ in range(runs + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        found = compute_similarity(vectors, query)[:, 0]
        nearest = np.argpartition(-found, 50)[:50]
        took.append((time.perf_counter() - wall, time.process_time() - cpu))
    assert 7 in nearest
    wall, cpu = (statistics.median(times) for times in zip(*took[1:], strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(vectors)} rows: {wall:.2f} s, {cpu:.2f} s of processor time; peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
