"""Files to Parquet parts on Ray against the local engine, and what a hundred million would take.

Whole commands, each with few and with many files: the difference of the two is the pace, without
the start of Python, torch and Ray. Seconds of processors are those of the command and of all that
it starts, which other work on the machine changes little. What is computed is printed apart.

    python benchmarks/bench_ray.py --lengths 4000 20000
    python benchmarks/bench_ray.py --fits                     # cubes as the Legacy Surveys give them
    python benchmarks/bench_ray.py --address auto             # on a cluster that runs: ray start --head
    python benchmarks/bench_ray.py --by-ray-data                  # and where Ray Data reads and writes
    python benchmarks/bench_ray.py --parts --images 4096      # without Ray: what cutting costs
    python benchmarks/bench_ray.py --rate 600 --row-bytes 120 --image-bytes 20000   # compute only
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bench_inputs import write_cube
from common import ROOT, find_files, make_parser, measure, print_machine, print_rows

LOOK_EVERY_S = 0.2
BY_RAY_DATA = """
import sys, ray, galmorph.ray
folder, output, address = sys.argv[1:]
ray.init(address or "local", include_dashboard=False, log_to_driver=False)
files = ray.data.read_binary_files(folder, include_paths=True)
galmorph.ray.classify(files, device="cpu").write_parquet(output)
"""
CUBES = 100


def run_command(command: list[str]) -> tuple[float, float]:
    """Seconds of a whole command of Python, and those of processors."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ticks: dict[int, int] = {}
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env) as process:
        while process.poll() is None:
            ticks |= read_ticks({process.pid, *ticks})
            time.sleep(LOOK_EVERY_S)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(process.returncode)
    return seconds, sum(ticks.values()) / os.sysconf("SC_CLK_TCK")


def read_ticks(family: set[int]) -> dict[int, int]:
    """Time of processors by process, of a family and its children."""
    found = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            _, parent, *rest = place.read_text().rpartition(")")[2].split()
            if {int(place.parent.name), int(parent)} & family:
                found[int(place.parent.name)] = sum(map(int, rest[9:11]))
    return found


def measure_engines(
    files: list[Path], lengths: list[int], runs: int, address: str, *, data: bool
) -> dict[str, list[float]]:
    """Seconds by engine, for each length the least of several runs in turns."""
    found: dict[str, list[float]] = defaultdict(list)
    for count in lengths:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "links").mkdir()
            for k in range(count):
                file = files[k % len(files)].resolve()
                (folder / "links" / f"{k:06d}{file.suffix}").symlink_to(file)
            links, one, parts, frames = (
                str(folder / n) for n in ("links", "one.parquet", "parts", "frames")
            )
            classify = ["-m", "galmorph", "classify", links, "-q", "--overwrite", "-o"]
            ray = ["--engine", "ray", *(["--address", address] if address else [])]
            commands = {"local": [*classify, one], "ray": [*classify, parts, *ray]}
            if data:
                commands["ray data"] = ["-c", BY_RAY_DATA, links, frames, address]
            seconds: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for _ in range(runs):
                for engine, command in commands.items():
                    shutil.rmtree(frames, ignore_errors=True)
                    seconds[engine].append(run_command(command))
            for engine, each in seconds.items():
                for what, values in zip(("", ", processors"), zip(*each, strict=True), strict=True):
                    found[engine + what].append(min(values))
            written = sum(part.stat().st_size for part in Path(parts).glob("*.parquet"))
            found["row_bytes"] = [written / count]
    return found


def measure_parts(files: list[Path], folder: Path, runs: int) -> dict[str, float]:
    """Processor seconds in this process, one thread, of a whole run and of the same in parts."""
    from galmorph.parts import Folder, Worker, cut_parts
    from galmorph.ray import PART_ROWS
    from galmorph.run import open_run
    from galmorph.settings import ClassifyOptions

    images = tuple(map(os.fspath, files))
    run = open_run(ClassifyOptions(images=images, workers=1, device="cpu"))
    whole = ClassifyOptions(images=images, workers=1, device="cpu", output=folder / "one.parquet")

    def work_whole() -> None:
        for _ in open_run(replace(whole, overwrite=True)).results():
            pass

    def work_parts() -> None:
        out = Folder(str(folder / "parts"))
        there = out.begin(run.describe(), resume=False, overwrite=True)
        worker = Worker.of(run, out, lambda *_: None)
        for part in cut_parts(run.inputs, out, there, PART_ROWS["cpu"], Counter()):
            worker.make(part)

    works = {"whole": work_whole, "in parts": work_parts}
    return {
        name: min(measure(work, len(files), runs=runs, warm=runs > 1, cpu=True).seconds)
        for name, work in works.items()
    }


def compute_bill(options: argparse.Namespace) -> list[tuple[str, str]]:
    """What so many cutouts take: arithmetic, nothing measured."""
    rate = options.rate * options.cores * options.efficiency  # images/s of a machine
    hours = options.cutouts / rate / 3600  # of machines
    read, written = options.cutouts * options.image_bytes, options.cutouts * options.row_bytes
    return [
        ("machine-hours", f"{hours:,.1f}, at {rate:,.0f} images/s of a machine"),
        (f"time on {options.machines} machines", f"{60 * hours / options.machines:,.0f} min"),
        ("money", f"{hours * options.price:,.1f}, at {options.price:g} an hour of a machine"),
        (
            "money for requests",
            f"{options.cutouts / 1e6 * options.request_price:,.0f}, where each "
            f"image is an object, at {options.request_price:g} a million",
        ),
        ("bytes read", f"{read / 1e12:,.2f} TB"),
        ("read by a machine", f"{rate * options.image_bytes * 8 / 1e9:,.1f} Gbit/s"),
        ("bytes written", f"{written / 1e9:,.1f} GB"),
        ("parts", f"{-(-options.cutouts // 2048):,d}"),
    ]


def main() -> None:
    """Measure both engines, then compute."""
    parser = make_parser(__doc__, images=2000)
    parser.add_argument("--lengths", type=int, nargs=2, default=[4000, 20000])
    parser.add_argument("--fits", action="store_true", help="FITS cubes in place of JPEG files")
    parser.add_argument(
        "--by-ray-data", action="store_true", help="read and written by Ray Data too"
    )
    parser.add_argument("--address", help="of a cluster whose processors are not counted")
    parser.add_argument("--rate", type=float, help="images/s of a core; measured by default")
    parser.add_argument("--row-bytes", type=float, default=0.0)
    parser.add_argument("--image-bytes", type=float, default=0.0)
    parser.add_argument("--cutouts", type=int, default=100_000_000)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--cores", type=int, default=64, help="of a machine")
    parser.add_argument("--price", type=float, default=3.0, help="of an hour of a machine")
    parser.add_argument("--request-price", type=float, default=0.4, help="of a million requests")
    parser.add_argument("--efficiency", type=float, default=0.8, help="of many cores and Ray")
    parser.add_argument("--parts", action="store_true", help="measure the cutting alone")
    options = parser.parse_args()
    if options.parts:
        print_machine()
        with tempfile.TemporaryDirectory() as name:
            files = find_files(options.data, options.images, Path(name))
            found = measure_parts(files, Path(name), options.runs)
        rows = [(way, f"{seconds:.2f} s of a core") for way, seconds in found.items()]
        more = found["in parts"] / found["whole"] - 1
        print_rows(f"measured: {len(files)} files, {more:+.0%} in parts", rows)
        return
    if options.rate is None:
        print_machine()
        with tempfile.TemporaryDirectory() as simulated:
            if options.fits:
                files = [Path(simulated, f"{k}.fits") for k in range(CUBES)]
                for k, file in enumerate(files):
                    write_cube(file, k)
            else:
                files = find_files(options.data, options.images, Path(simulated))
            options.image_bytes = sum(file.stat().st_size for file in files) / len(files)
            given = options.lengths, options.runs, options.address or ""
            report_engines(options, measure_engines(files, *given, data=options.by_ray_data))
    given = f"{options.rate:,.0f} images/s of a core, {options.image_bytes:,.0f} bytes an image, "
    given += f"{options.row_bytes:,.0f} a row, {options.cores} cores a machine"
    print_rows(f"computed for {options.cutouts:,d} cutouts from {given}", compute_bill(options))


def report_engines(options: argparse.Namespace, found: dict[str, list[float]]) -> None:
    """Print what was measured; the rate of a core goes into the options."""
    few, many = options.lengths
    pace = {name: (many - few) / (s[1] - s[0]) for name, s in found.items() if len(s) == 2}
    rows = [
        (name, f"{few}: {s[0]:.1f} s", f"{many}: {s[1]:.1f} s", f"{pace[name]:.0f} images/s")
        for name, s in found.items()
        if len(s) == 2
    ]
    print_rows(f"measured: whole commands, least of {options.runs}, and the pace between", rows)
    for what in ("", ", processors")[: 1 if options.address else 2]:
        local, ray = f"local{what}", f"ray{what}"
        whole = found[ray][1] / found[local][1] - 1
        print(f"overhead of Ray{what}: {pace[local] / pace[ray] - 1:.0%} of the pace, {whole:.0%} "
              f"of the whole command with {many} files")  # fmt: skip
    options.rate = pace["local, processors"]
    options.row_bytes = options.row_bytes or found["row_bytes"][0]


if __name__ == "__main__":
    main()
