"""Files to a table, and encoders alone, on a GPU: images per second and shares of the limits.

One command for a machine whose GPU is there for a few minutes. Before anything is timed, embeddings of
the device are compared with those of the CPU in float32. With `--device cpu` and small sizes it
runs anywhere, as a rehearsal.

    python benchmarks/bench_gpu.py
    python benchmarks/bench_gpu.py --device cuda:all
    python benchmarks/bench_gpu.py --device cpu --images 64 --runs 1 --batches 8 --sides 256
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_encode import count_operations
from bench_end_to_end import make_galmorph
from common import Timing, find_files, make_model, make_parser, measure, print_machine, print_rows

from galmorph.errors import GalmorphError
from galmorph.inference import engine, reading_process
from galmorph.inference.backends import open_backend
from galmorph.inference.compiled import ReadyEncoder, get_ready_encoder
from galmorph.inference.cuda import BatchReplay
from galmorph.inference.devices import choose_devices, choose_shared_precision
from galmorph.inference.engine import EngineOptions, explain_options

ARCHITECTURES = ("fused_fast", "wei2022")
BATCHES_AT_ONCE = 8
"""Batches whose results are waited for together, so that a device is never without work."""

Way = Callable[[torch.Tensor], Any]


def wait_for(devices: tuple[torch.device, ...]) -> None:
    """Until every GPU has done what it was given."""
    for device in devices:
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
            wait_for((device,))

        timing = measure(work, BATCHES_AT_ONCE, runs=max(5, runs))
        best = max(best, 2 * side**3 * timing.rate)
    return best


@contextmanager
def _cudnn_search(wanted: bool) -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def list_ways(
    ready: ReadyEncoder, pixels: torch.Tensor, options: argparse.Namespace
) -> Iterator[tuple[str, Way, bool]]:
    """Ways to compute with pixels that are on the device: name, work, cuDNN's own search."""
    yield "op by op", ready.compute, False
    if pixels.is_cuda:
        for search in (False, True):
            with _cudnn_search(search):
                name = "CUDA graph, cuDNN searches" if search else "CUDA graph"
                replay = BatchReplay(ready.compute, len(pixels), pixels, pixels.device)
                yield name, replay, search
    if options.compile:
        yield "torch.compile", torch.compile(ready.compute), False


def measure_encoder(
    ready: ReadyEncoder, batch: int, size: int, options: argparse.Namespace
) -> Iterator[tuple[str, Timing]]:
    """Every way, without copies; and as the engine does it, with copies from and to the host."""
    host = np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), dtype=np.uint8)
    pixels = torch.from_numpy(host).to(ready.device)
    count = batch * BATCHES_AT_ONCE

    def with_copies() -> None:
        waits = [ready.start([host], full=batch) for _ in range(BATCHES_AT_ONCE)]
        for wait in waits:
            wait()

    with torch.inference_mode():
        for name, way, search in list_ways(ready, pixels, options):

            def work(way: Way = way) -> None:
                for _ in range(BATCHES_AT_ONCE):
                    way(pixels)
                wait_for((ready.device,))

            with _cudnn_search(search):
                yield name, measure(work, count, runs=options.runs)
    yield "from host to host", measure(with_copies, count, runs=options.runs)


def compare_with_cpu(model: Any, ready: ReadyEncoder) -> str:
    """Largest difference from the CPU in float32, in parts of the largest value."""
    size = model.preprocessing.img_size
    pixels = np.random.default_rng(1).integers(0, 256, (48, 3, size, size), dtype=np.uint8)
    cpu = torch.device("cpu")
    exact = get_ready_encoder(model.encoder, model.preprocessing, cpu, "float32").encode(pixels)
    waits = [ready.start([pixels[i : i + 12]], full=12) for i in range(0, 48, 12)]
    found = np.concatenate([wait() for wait in waits])
    worst = float(np.abs(found - exact).max() / np.abs(exact).max())
    return f"{worst:.4f}" if np.isfinite(found).all() else "NOT FINITE"


def report_encoders(options: argparse.Namespace, devices: tuple[torch.device, ...]) -> None:
    """Tables of the encoders alone, on the first device."""
    kind = choose_shared_precision(None, devices)
    limit = measure_matrix_rate(devices[0], getattr(torch, kind), options.sides, options.runs)
    print(f"matrix rate, {kind}: {limit / 1e12:.2f} Top/s on {devices[0]}\n")
    for architecture in options.architectures:
        model, operations = make_model(architecture), count_operations(architecture)
        ready = get_ready_encoder(model.encoder, model.preprocessing, devices[0], kind)
        rows = [("largest difference from the CPU in float32", compare_with_cpu(model, ready), "")]
        for batch in options.batches:
            for name, timing in measure_encoder(
                ready, batch, model.preprocessing.img_size, options
            ):
                share = f"{timing.rate * operations / limit:.0%} of the limit"
                rows.append((f"batch {batch}, {name}", str(timing), share))
        rows.append(("afterwards", ready.explain(), ""))
        print_rows(f"{architecture} alone, {operations / 2e9:.2f} GMAC, {kind}", rows)


@contextmanager
def _reading(blocks_here: int) -> Iterator[None]:
    before = reading_process.BLOCKS_HERE
    reading_process.BLOCKS_HERE = blocks_here
    try:
        yield
    finally:
        reading_process.BLOCKS_HERE = before


class _NoEncoder:
    """A lane that costs nothing: what is left is reading, on its way to the device."""

    name = "none"

    def __init__(self, width: int) -> None:
        self._width = width

    def start(self, parts: Any, *, full: int | None = None) -> Callable[[], Any]:
        count = sum(map(len, parts))
        return lambda: np.zeros((count, self._width), dtype=np.float32)

    def explain(self) -> str:
        return ""


def make_reading(model: Any, files: list[Path], settings: EngineOptions) -> Callable[[], None]:
    """The engine without its encoder."""
    from galmorph.images.discover import discover_sources

    cpu = open_backend(model, device="cpu")
    nothing = replace(cpu, lanes=(_NoEncoder(model.num_features),))

    def work() -> None:
        before, engine.open_backend = engine.open_backend, lambda *_, **__: nothing
        try:
            for _ in engine.run_inference(model, discover_sources(files), options=settings):
                pass
        finally:
            engine.open_backend = before

    return work


def report_pipeline(options: argparse.Namespace, folder: Path) -> None:
    """Files to a FITS table, with the processes that read and without them."""
    files = find_files(options.data, options.images, folder)
    settings = EngineOptions(options.device, workers=options.workers)
    reading = make_reading(make_model("fused_fast"), files, settings)
    lanes = open_backend(make_model("fused_fast"), device=options.device).lanes
    ways = {"with processes": 0, "threads only": 2**62} if lanes else {"": 0}
    works = {"reading alone": reading}
    for architecture in options.architectures:
        works[architecture] = make_galmorph(architecture, files, folder, settings)
    rows = []
    for name, work in works.items():
        for way, blocks_here in ways.items():
            with _reading(blocks_here):
                rows.append((name, way, str(measure(work, len(files), runs=options.runs))))
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
        devices = choose_devices(options.device)
    except GalmorphError as error:
        raise SystemExit(f"{error}") from error
    torch.set_num_threads(1)
    print_machine()
    gpus = [torch.cuda.get_device_name(d) for d in devices if d.type == "cuda"]
    print(f"device    {', '.join(gpus) or devices[0]}, CUDA {torch.version.cuda or 'absent'}")
    for what, how in explain_options(EngineOptions(options.device)).items():
        print(f"          {what}: {how}")
    print()
    report_encoders(options, devices)
    with tempfile.TemporaryDirectory() as folder:
        report_pipeline(options, Path(folder))


if __name__ == "__main__":
    main()
