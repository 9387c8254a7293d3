"""From files on disk to a written FITS table, against a plain pipeline and against the limits.

Every way runs in a process of its own, so that its peak memory is its own. The limits are the
same work with one stage alone, on all cores: reading alone, encoding alone, and the matrix rate.

    python benchmarks/bench_end_to_end.py
    python benchmarks/bench_end_to_end.py --rival timm:convnext_nano   # the network of a rival
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import ROOT, find_files, make_model, make_parser, print_machine, print_rows

MIB = 2**20
Work = Callable[[], Any]


def make_galmorph(architecture: str, files: list[Path], folder: Path, options: Any = None) -> Work:
    """The whole of ``galmorph classify``: sources, engine, columns, table."""
    from galmorph.images.discover import discover_sources
    from galmorph.inference.results import ResultPlan
    from galmorph.pipeline import Pipeline
    from galmorph.settings import EngineOptions
    from galmorph.tables import open_writer

    model = make_model(architecture)
    pipeline = Pipeline(model, model.heads["gz2"], options=options or EngineOptions())
    plan = ResultPlan(model, pipeline.head)

    def work() -> None:
        with open_writer(folder / "out.fits", plan.specs, pipeline.describe()) as writer:
            for block in pipeline.run(discover_sources(files)):
                writer.append(plan.fill(block))
        (folder / "out.fits").unlink()

    return work


def make_plain(network: str, files: list[Path], workers: int) -> Work:
    """The plain pipeline."""
    from plain_pipeline import make_network, run_plain

    module, size, crop = make_network(network)
    return lambda: run_plain(module, files, size=size, crop=crop, workers=workers)


def make_reading(files: list[Path], cores: int) -> Work:
    """Decoding and preparing alone, in one thread per core; with torch, as beside its encoders."""
    import torch

    from galmorph.images.discover import discover_sources
    from galmorph.inference.engine import CPU_BATCH_SIZE
    from galmorph.inference.reading import Reader, chunk
    from galmorph.preprocessing.pipeline import Preprocessing
    from galmorph.settings import FieldOptions, ReadOptions, RenderOptions

    steps, field = Preprocessing(), FieldOptions()
    reader = Reader(steps, steps.tell_reader(ReadOptions(), field), field, RenderOptions())
    batches = list(chunk(discover_sources(files), CPU_BATCH_SIZE))

    def work() -> None:
        with ThreadPoolExecutor(cores, initializer=lambda: torch.set_num_threads(1)) as pool:
            list(pool.map(lambda batch: len(reader.read_block(batch).good), batches))

    return work


def make_encoding(architecture: str, count: int, cores: int) -> Work:
    """Encoding alone, in one thread per core."""
    import numpy as np

    from galmorph.inference.backends import open_backend

    backend = open_backend(make_model(architecture))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 3, 84, 84), dtype=np.uint8)

    def work() -> None:
        with ThreadPoolExecutor(cores, initializer=backend.start_worker) as pool:
            list(pool.map(lambda _: backend.encode(pixels)[0], range(count // 32)))

    return work


def run_child(options: argparse.Namespace) -> None:
    """Time one way in this process, and print it as JSON."""
    from galmorph.inference.cores import count_cores, keep_freed_memory

    name, _, detail = options.child.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        files = find_files(options.data, options.images, Path(folder))
        count = len(files)
        if name != "plain":
            keep_freed_memory()  # as the command line does
        if name == "plain":
            network, _, workers = detail.partition("/")
            work = make_plain(network, files, int(workers))
        elif name == "galmorph":
            work = make_galmorph(detail, files, Path(folder))
        elif name == "reading":
            work = make_reading(files, count_cores())
        else:
            work, count = make_encoding(detail, count, count_cores()), count // 32 * 32
        seconds = _time(work, options.runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB
    print(json.dumps({"rates": [count / s for s in seconds], "peak": peak}))


def _time(work: Work, runs: int) -> list[float]:
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]  # the first one also warms the disk's cache


def measure_way(way: str, images: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time one way in a fresh process."""
    arguments = ["--child", way, "--images", str(images), "--runs", str(options.runs)]
    command = [sys.executable, __file__, *arguments, "--data", str(options.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{way} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    result["rate"] = statistics.median(result["rates"])
    return result


def measure_all(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every way, the slow ones on fewer images."""
    from galmorph.inference.cores import count_cores

    few = max(64, options.images // 6)
    ways = {
        "reading": options.images,
        "encoding/fused_fast": options.images,
        "galmorph/fused_fast": options.images,
        "encoding/wei2022": few,
        "galmorph/wei2022": few,
    }
    for rival in options.rival:
        ways |= {f"plain/{rival}/{workers}": few for workers in (0, count_cores())}
    return {way: measure_way(way, images, options) for way, images in ways.items()}


def compare(results: dict[str, dict[str, Any]], rivals: list[str]) -> list[tuple[str, ...]]:
    """Ratios within this run."""
    rate = {way: result["rate"] for way, result in results.items()}
    rows = []
    for architecture in ("fused_fast", "wei2022"):
        ours = rate[f"galmorph/{architecture}"]
        for rival in rivals:
            plain = max(rate[way] for way in rate if way.startswith(f"plain/{rival}/"))
            rows.append((architecture, f"against the plain pipeline with {rival}",
                         f"{ours / plain:.1f} x"))  # fmt: skip
        slower = min(rate["reading"], rate[f"encoding/{architecture}"])
        one_after_other = 1 / (1 / rate["reading"] + 1 / rate[f"encoding/{architecture}"])
        rows.append((architecture, "of the slower stage alone", f"{ours / slower:.0%}"))
        rows.append((architecture, "of reading and encoding on the same cores, nothing else",
                     f"{ours / one_after_other:.0%}"))  # fmt: skip
        rows.append((architecture, "of the matrix limit", _share_of_limit(architecture, ours)))
    return rows


def _share_of_limit(architecture: str, rate: float) -> str:
    import torch
    from bench_encode import count_operations, measure_matrix_rate

    from galmorph.inference.cores import count_cores
    from galmorph.inference.devices import cpu_has_bfloat16

    precision = "bfloat16" if cpu_has_bfloat16() else "float32"
    torch.set_num_threads(1)
    limit = measure_matrix_rate(precision) * count_cores()
    return f"{rate * count_operations(architecture) / limit:.0%} ({precision})"


def main() -> None:
    """Time every way, and print rates and ratios."""
    parser = make_parser(__doc__, images=1500)
    parser.add_argument("--rival", action="append", default=[], help="wei2022, or timm:NAME")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options)
        return
    options.rival = ["wei2022", *options.rival]
    print_machine()
    results = measure_all(options)
    rows = []
    for way, result in results.items():
        low, high = min(result["rates"]), max(result["rates"])
        spread = f"({low:.1f} to {high:.1f})"
        rows.append((way, f"{result['rate']:8.1f} images/s", spread, f"{result['peak']:.0f} MiB"))
    print_rows(f"all cores, median of {options.runs} runs, and peak memory", rows)
    print_rows("ratios in this run", compare(results, options.rival))


if __name__ == "__main__":
    main()
