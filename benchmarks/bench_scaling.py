"""What further cores give: one core against two, and how long Python's lock is held per image.

The lock is bounded by the processor time of the process that has the table, while others read for
it (as with many workers) and the encoder does nothing: other work on the machine changes it little.
Launching the steps of the encoder adds some 0.03 ms.

    python benchmarks/bench_scaling.py
    python benchmarks/bench_scaling.py --kinds jpeg fits --images 500
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_inputs import KINDS, LABELS, list_works
from common import ROOT, make_parser, print_machine

CORES = (8, 32, 128)


def read_own(pid: int) -> float:
    """MiB that a process has for itself, without pages of files, which could be dropped."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    sizes = dict(line.split()[:2] for line in lines[1:])
    return min(int(sizes["Private_Dirty:"]), int(sizes["Anonymous:"])) / 1024


def measure_lock(arguments: list[str], images: int) -> tuple[float, float, float]:
    """Milliseconds per image of this process, MiB at its highest, and MiB of one that reads."""
    from click.testing import CliRunner

    from galmorph.cli.main import cli
    from galmorph.inference import engine, processes

    open_backend = engine.open_backend

    def open_nothing(model: Any, **given: Any) -> Any:
        width = model.num_features
        encode: Any = lambda pixels: np.zeros((len(pixels), width), np.float32)  # noqa: E731
        return replace(open_backend(model, **given), encode=encode)

    sizes, close = [0.0], processes._Pool.close

    def note_memory(pool: Any) -> None:
        sizes.extend(read_own(child._pid) for child in pool._children if not child.ended)
        close(pool)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes._Pool, "close", note_memory)
        patch.setattr(engine, "open_backend", open_nothing)
        patch.setattr(engine, "MANY_WORKERS", 0)
        patch.setattr(processes, "BLOCKS_HERE", 0)
        words = ["classify", *arguments, "-q", "--overwrite", "-o", str(Path(folder) / "out.fits")]
        used = []
        for _ in range(3):  # processes are not up in the first
            began = time.process_time()
            done = CliRunner().invoke(cli, words, prog_name="galmorph")
            used.append(time.process_time() - began)
            if done.exit_code:
                raise SystemExit(done.output)
            while not all(nursery.is_up() for nursery in processes._nurseries.values()):
                time.sleep(0.1)
        began = time.process_time()
        CliRunner().invoke(cli, [*words, "--part", f"1/{images}"], prog_name="galmorph")
        used[-1] -= time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return max(used[-1], 0.0) / images * 1000, peak, max(sizes)


def main() -> None:
    """Print a row for every kind."""
    parser = make_parser(__doc__, images=1000)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    options: argparse.Namespace = parser.parse_args()
    print_machine()
    cores = sorted(os.sched_getaffinity(0))[:2]
    print("measured with one core and two; at most, as it follows, with more")
    names = ["kind", "one core", "two cores", "gain", "lock held", *map("{} cores".format, CORES)]
    print(f"| {' | '.join(names)} |")
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            ((_, work),) = list_works(kind, Path(folder), options).items()
            pairs = [(work(ROOT, cores[:1]), work(ROOT, cores)) for _ in range(options.runs)]
            held, peak, each = measure_lock(work.arguments, options.images)  # type: ignore[attr-defined]
        one, two = (
            options.images / statistics.median(seconds) for seconds in zip(*pairs, strict=True)
        )
        gain = statistics.median(first / second for first, second in pairs)
        bound = 1000 / held if held else float("inf")
        rates = [min(n * one, bound) for n in CORES]
        memory = [(peak + n * each) / 1024 for n in CORES]
        bounds = (
            f"{rate:,.0f}/s, {rate * 0.0036:.1f} M an hour, {size:.1f} GiB"
            for rate, size in zip(rates, memory, strict=True)
        )
        row = (LABELS[kind], f"{one:.0f}/s", f"{two:.0f}/s", f"{gain:.2f}", f"{held:.3f} ms")
        print(f"| {' | '.join([*row, *bounds])} |", flush=True)


if __name__ == "__main__":
    main()
