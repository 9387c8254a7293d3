"""A query among a million embeddings: time, memory; and by an index, how many of the nearest it finds.

    python benchmarks/bench_search.py --rows 1000000
    python benchmarks/bench_search.py --rows 1000000 --index

Vectors of 512 numbers as float16 in a file (1 GB, in --folder), mapped as those of a result are. Measured are
processor and wall time of one exact query, the median of --runs after a first one, and the peak of resident memory of
the whole process, torch among it (where the file was there already). With --index they are no random vectors, in which
nothing is near to anything, but resemble real ones: embeddings of --images galaxies of the folder that GALMORPH_DATA
names, of which each row mixes two near ones and adds noise, half as large as what lies between them, weighted to 128
numbers as those of the default model are. Recall is the part of
the 50 nearest that the index finds, of 100 other rows.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from common import print_machine
from safetensors.numpy import load_file

from galmorph import embed, load_model
from galmorph.images.discover import discover_sources
from galmorph.neighbours.search import find_nearest, open_index
from galmorph.neighbours.vectors import WEIGHTINGS, apply_weighting, compute_similarity, to_unit

WIDTH = 512
QUERIES, NEAREST = 100, 50
AT_ONCE = 50_000


def write(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    mapped = np.lib.format.open_memmap(path, "w+", np.float16, (rows, WIDTH))
    for start in range(0, rows, AT_ONCE):
        block = rng.standard_normal((min(AT_ONCE, rows - start), WIDTH), dtype=np.float32)
        mapped[start : start + AT_ONCE] = block / np.linalg.norm(block, axis=1, keepdims=True)
    mapped.flush()


def write_alike(path: Path, rows: int, images: int) -> None:
    sources = discover_sources(Path(os.environ.get("GALMORPH_DATA", "data")) / "gz2")
    real = embed(list(islice(sources, images)), crop=180 / 224, progress=False)
    unit = to_unit(real)
    near = np.argsort(-(unit @ unit.T), axis=1)[:, 1:11]
    rng = np.random.default_rng(0)
    weighting = load_file(WEIGHTINGS)[load_model().provenance["sha256"]].astype(np.float32)
    mapped = np.lib.format.open_memmap(path, "w+", np.float16, (rows, weighting.shape[1]))
    for start in range(0, rows, AT_ONCE):
        count = min(AT_ONCE, rows - start)
        first = rng.integers(0, len(real), count)
        step = real[near[first, rng.integers(0, 10, count)]] - real[first]
        noise = 0.5 * rng.standard_normal((count, WIDTH), dtype=np.float32) * np.abs(step)
        part = rng.uniform(0, 1, (count, 1)).astype(np.float32)
        mapped[start : start + AT_ONCE] = apply_weighting(
            real[first] + part * step + noise, weighting
        )
    mapped.flush()


def measure_index(path: Path) -> None:
    vectors = np.load(path, mmap_mode="c")
    kept = path.with_name(f"{path.name}.faiss")
    began, was_there = time.perf_counter(), kept.is_file()
    index = open_index(vectors, path)
    seconds = time.perf_counter() - began
    print(
        f"index {'read' if was_there else 'built'} in {seconds:.1f} s, {kept.stat().st_size / 1e6:.0f} MB"
    )
    rows = np.random.default_rng(1).choice(len(vectors), QUERIES, replace=False)
    found, took = [], []
    for query in to_unit(vectors[rows]):
        wall, cpu = time.perf_counter(), time.process_time()
        found.append(find_nearest(vectors, query, NEAREST, index=index)[0])
        took.append((time.perf_counter() - wall, time.process_time() - cpu))
    exact = compute_similarity(vectors, to_unit(vectors[rows]))
    right = [
        np.isin(np.argsort(-exact[:, k])[:NEAREST], each).mean() for k, each in enumerate(found)
    ]
    wall, cpu = (1000 * statistics.median(times) for times in zip(*took, strict=True))
    print(
        f"recall@{NEAREST} {np.mean(right):.3f} (least {min(right):.2f}); {wall:.1f} ms, {cpu:.1f} ms of processor time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the file is made and kept")
    parser.add_argument("--index", action="store_true")
    parser.add_argument("--images", type=int, default=5000)
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as temporary:
        folder, kind = options.folder or Path(temporary), "alike" if options.index else "random"
        path = folder / f"{kind}_{options.rows}.npy"
        if options.index:
            if not path.exists():
                write_alike(path, options.rows, options.images)
            measure_index(path)
            return
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
