"""Cost model: time and peak memory of ``galmorph classify`` for ever longer lists of files.

The files are symbolic links to the same images, and every length runs in a process of its own.

    python benchmarks/bench_scale.py --lengths 1000 10000 100000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, find_files, make_parser, print_machine, print_rows


def link_files(files: list[Path], count: int, folder: Path) -> None:
    """``count`` links, a thousand in a folder."""
    for i in range(count):
        place = folder / f"{i // 1000:04d}"
        if i % 1000 == 0:
            place.mkdir()
        os.symlink(files[i % len(files)].resolve(), place / f"g{i:07d}.jpg")


def run_child(folder: Path) -> None:
    """Classify a folder in this process."""
    from bench_end_to_end import make_galmorph

    with tempfile.TemporaryDirectory() as output:
        make_galmorph("fused_fast", [folder / "warm"], Path(output))()
        work = make_galmorph("fused_fast", [folder / "links"], Path(output))
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def measure_length(files: list[Path], count: int) -> dict[str, float]:
    """Time and memory of one length, in a fresh process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, number in (("warm", 64), ("links", count)):
            (folder / part).mkdir()
            link_files(files, number, folder / part)
        command = [sys.executable, __file__, "--child", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Time every length."""
    parser = make_parser(__doc__, images=2000)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child)
        return
    print_machine()
    rows = []
    with tempfile.TemporaryDirectory() as simulated:
        files = find_files(options.data, options.images, Path(simulated))
        for count in options.lengths:
            result = measure_length(files, count)
            each = f"{1e3 * result['seconds'] / count:.3f} ms each"
            row = (f"{count}", f"{result['seconds']:.1f} s", each, f"{result['peak']:.0f} MiB")
            rows.append(row)
    print_rows("fused_fast, files to FITS table, all cores", rows)


if __name__ == "__main__":
    main()
