"""A million rows in the explorer: seconds until the page can be looked at, memory.

    python benchmarks/bench_explorer.py --rows 1000000 [--umap] [--folder FOLDER]

Makes a run of random embeddings of 512 numbers around five centres, with identifiers, paths, classes and positions, as
Parquet in --folder (2 GB), and opens it as `galmorph explore` does, twice, each time in a process of its own: first, when
the embeddings are laid beside it, and again. The time of the page ends when the gallery and the first galaxy are drawn,
that of all of it when the map (principal components, binned) and the nearest galaxies are as well; loading of Python's
modules counts. With --umap also the map by UMAP.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import print_machine
from PIL import Image

WIDTH, CLASSES = 512, ("round", "in_between", "cigar", "edge_on", "spiral")
AT_ONCE = 50_000


def write(path: Path, rows: int) -> None:
    from safetensors.numpy import load_file

    from galmorph.neighbours.vectors import WEIGHTINGS
    from galmorph.tables import open_writer, result_columns
    from galmorph.tables.columns import class_columns

    (sha256,) = load_file(
        WEIGHTINGS
    )  # of fused_fast, whose embeddings are weighted before they are compared
    image = path.with_name("galaxy.jpg")
    Image.effect_noise((120, 120), 60).convert("RGB").save(image)
    specs = result_columns(class_columns(CLASSES), embedding_dim=WIDTH)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((len(CLASSES), WIDTH), dtype=np.float32)
    with open_writer(path, specs, {"model_sha256": sha256}) as writer:
        for start in range(0, rows, AT_ONCE):
            count = min(AT_ONCE, rows - start)
            kind = rng.integers(0, len(CLASSES), count)
            share = rng.dirichlet(np.ones(len(CLASSES)), count).astype(np.float32)
            columns = {
                s.name: [""] * count if s.is_text else np.zeros(count, s.dtype) for s in specs
            }
            columns |= {f"p_{name}": share[:, k] for k, name in enumerate(CLASSES)}
            columns |= {
                "object_id": [f"J{n:08d}" for n in range(start, start + count)],
                "path": [str(image)] * count,
                "label": [CLASSES[k] for k in kind],
                "confidence": share.max(axis=1),
                "atypicality": rng.uniform(0, 100, count).astype(np.float32),
                "ra": rng.uniform(0, 360, count),
                "dec": rng.uniform(-90, 90, count),
                "embedding": centres[kind] + rng.standard_normal((count, WIDTH), dtype=np.float32),
            }
            writer.append(columns)


def open_once(path: Path, umap: bool) -> None:
    began = time.perf_counter()
    from galmorph.explorer.app import explore

    view = explore(path, labels=path.with_name("labels.csv")).make_view(alone=True)
    page = time.perf_counter() - began
    while not (view.near.items and view.map.marked.data["x"]):  # drawn by another thread
        time.sleep(0.05)
    seconds, peak = time.perf_counter() - began, measure_peak()
    binned = len(view.map.image.data["image"])
    print(
        f"{len(view.browsing.galaxies)} rows: page {page:.1f} s, all of it {seconds:.1f} s of wall time, "
        f"{time.process_time():.1f} s of processor time; peak {peak:.0f} MB; {'binned' if binned else 'points'}",
        flush=True,
    )
    if umap:
        began, used = time.perf_counter(), time.process_time()
        view.axes.value = "UMAP"
        seconds, used = time.perf_counter() - began, time.process_time() - used
        print(
            f"UMAP: {seconds:.0f} s of wall time, {used:.0f} s of processor time; "
            f"peak {measure_peak():.0f} MB",
            flush=True,
        )


def measure_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the run is made and kept")
    parser.add_argument("--umap", action="store_true")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        open_once(options.open, options.umap)
        return
    print_machine()
    with tempfile.TemporaryDirectory() as temporary:
        path = (options.folder or Path(temporary)) / f"run_{options.rows}.parquet"
        if not path.exists():
            write(path, options.rows)
        for kept in path.parent.glob(f"{path.name}.*.embeddings.npy"):
            kept.unlink()
        for more in ([], ["--umap"] if options.umap else []):
            subprocess.run([sys.executable, __file__, "--open", str(path), *more], check=True)


if __name__ == "__main__":
    main()
