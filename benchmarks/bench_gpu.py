"""Files to a table, and encoders alone, on a GPU: images per second and shares of the limits.

One command for a machine whose GPU is there for a few minutes. Before anything is timed, embeddings of
the device are compared with those of the CPU in float32. With `--device cpu` and small sizes it
runs anywhere, as a rehearsal.

    python benchmarks/bench_gpu.py
    python benchmarks/bench_gpu.py --device cpu --images 64 --runs 1 --batches 8 --sides 256
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_encode import count_operations
from bench_end_to_end import make_galmorph
from common import Timing, find_files, make_model, make_parser, measure, print_machine, print_rows

from galmorph.errors import GalmorphError
from galmorph.inference.devices import choose_device, choose_precision
from galmorph.inference.engine import explain_options
from galmorph.inference.ready import ReadyEncoder, get_ready_encoder
from galmorph.settings import EngineOptions

ARCHITECTURES = ("fused_fast", "wei2022")
BATCHES_AT_ONCE = 8
"""Batches whose results are waited for together, so that a device is never without work."""


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_matrix_rate(
    device: torch.device, dtype: torch.dtype, sides: list[int], runs: int
) -> float:
    """Operations per second of the fastest product of two square matrices."""
    best = 0.0
    for side in sides:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(a)

        def work(a: Any = a, b: Any = b, out: Any = out) -> None:
            for _ in range(BATCHES_AT_ONCE):
                torch.matmul(a, b, out=out)
            wait_for(device)

        timing = measure(work, BATCHES_AT_ONCE, runs=max(5, runs))
        best = max(best, 2 * side**3 * timing.rate)
    return best


def measure_encoder(
    ready: ReadyEncoder, batch: int, size: int, options: argparse.Namespace
) -> Iterator[tuple[str, Timing]]:
    """Without copies; and as the engine does it, with copies from and to the host."""
    host = np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), dtype=np.uint8)
    pixels = torch.from_numpy(host).to(ready.device)
    ways = {"on the device": ready.compute}
    if options.compile:
        ways["torch.compile"] = torch.compile(ready.compute)
    with torch.inference_mode():
        for name, way in ways.items():

            def work(way: Any = way) -> None:
                for _ in range(BATCHES_AT_ONCE):
                    way(pixels)
                wait_for(ready.device)

            yield name, measure(work, batch * BATCHES_AT_ONCE, runs=options.runs)
    yield "from host to host", measure(lambda: ready.encode(host), batch, runs=options.runs)


def compare_with_cpu(model: Any, ready: ReadyEncoder) -> str:
    """Largest difference from the CPU in float32, in parts of the largest value."""
    size = model.preprocessing.img_size
    pixels = np.random.default_rng(1).integers(0, 256, (48, 3, size, size), dtype=np.uint8)
    cpu = torch.device("cpu")
    exact = get_ready_encoder(model.encoder, model.preprocessing, cpu, "float32").encode(pixels)
    found = ready.encode(pixels)
    worst = float(np.abs(found - exact).max() / np.abs(exact).max())
    return f"{worst:.4f}" if np.isfinite(found).all() else "NOT FINITE"


def report_encoders(options: argparse.Namespace, device: torch.device) -> None:
    """Tables of the encoders alone."""
    kind = choose_precision(None, device)
    limit = measure_matrix_rate(device, getattr(torch, kind), options.sides, options.runs)
    print(f"matrix rate, {kind}: {limit / 1e12:.2f} Top/s on {device}\n")
    for architecture in options.architectures:
        model, operations = make_model(architecture), count_operations(architecture)
        ready = get_ready_encoder(model.encoder, model.preprocessing, device, kind)
        rows = [("largest difference from the CPU in float32", compare_with_cpu(model, ready), "")]
        for batch in options.batches:
            for name, timing in measure_encoder(
                ready, batch, model.preprocessing.img_size, options
            ):
                share = f"{timing.rate * operations / limit:.0%} of the limit"
                rows.append((f"batch {batch}, {name}", str(timing), share))
        print_rows(f"{architecture} alone, {operations / 2e9:.2f} GMAC, {kind}", rows)


def report_pipeline(options: argparse.Namespace, folder: Path) -> None:
    """Files to a FITS table."""
    files = find_files(options.data, options.images, folder)
    settings = EngineOptions(device=options.device, workers=options.workers)
    rows = []
    for architecture in options.architectures:
        work = make_galmorph(architecture, files, folder, settings)
        rows.append((architecture, str(measure(work, len(files), runs=options.runs))))
    print_rows(f"{len(files)} files to a FITS table, start of the processes included", rows)


def main() -> None:
    """Print everything."""
    parser = make_parser(__doc__, images=30_000)
    parser.add_argument("--device", default="auto", help="as galmorph classify")
    parser.add_argument("--workers", type=int, help="as galmorph classify")
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES, choices=ARCHITECTURES)
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--sides", type=int, nargs="+", default=[2048, 4096, 8192])
    parser.add_argument("--compile", action="store_true", help="time torch.compile as well")
    options = parser.parse_args()
    try:
        device = choose_device(options.device)
    except GalmorphError as error:
        raise SystemExit(f"{error}") from error
    torch.set_num_threads(1)
    print_machine()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device
    print(f"device    {name}, CUDA {torch.version.cuda or 'absent'}")
    for what, how in explain_options(EngineOptions(device=options.device)).items():
        print(f"          {what}: {how}")
    print()
    report_encoders(options, device)
    with tempfile.TemporaryDirectory() as folder:
        report_pipeline(options, Path(folder))


if __name__ == "__main__":
    main()
