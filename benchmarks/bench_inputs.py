"""Every kind of input to a FITS table: images per second of whole runs, start-up taken off.

Makes its own inputs (2 GB with mosaics of the full size) and reads each with the command line, or,
what is in memory, with `galmorph.classify`. With `--against FOLDER`, another checkout, each run is
paired with one of that, and the ratio is printed.

    python benchmarks/bench_inputs.py
    python benchmarks/bench_inputs.py --kinds fits fz --cores 0 --against ../before
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, find_files, make_parser, print_machine, print_rows

CARDS = {
    **{"SURVEY": "LegacySurvey", "VERSION": "DR9", "IMAGETYP": "IMAGE", "BANDS": "grz"},
    **{"BAND0": "g", "BAND1": "r", "BAND2": "z", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"},
    **{"CRVAL1": 180.0, "CRVAL2": 10.0, "CRPIX1": 128.5, "CRPIX2": 128.5},
    **{"CD1_1": -0.262 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.262 / 3600},
}
SIDE = 256
DIFFERENT = 100
"""Files that differ; further ones are copies."""

STRETCHES = ("legacysurvey", "percentile", "gzdecals", "asinh", "lupton", "zscale")

IN_MEMORY = """
import sys, time
import numpy as np
import galmorph
array = np.load(sys.argv[1])
galmorph.classify(array[:64], {options})
began = time.perf_counter()
galmorph.classify(array, {options}).write(sys.argv[2], overwrite=True)
print(time.perf_counter() - began)
"""


def make_flux(number: int, side: int = SIDE) -> Any:
    """An inclined disk with noise in three bands, nanomaggies."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    light = np.exp(-np.hypot(x, y * rng.uniform(1, 3)) / rng.uniform(6, 20))
    planes = [a * light + rng.normal(0, 0.003, light.shape) for a in (0.1, 0.2, 0.3)]
    return np.stack(planes).astype(np.float32)


def write_copies(folder: Path, count: int, suffix: str, write: Callable[[Path, int], None]) -> None:
    """``count`` files, the later ones copies of the first."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"g{number:05d}{suffix}"
        if number < DIFFERENT:
            write(path, number)
        else:
            first = folder / f"g{number % DIFFERENT:05d}{suffix}"
            path.write_bytes(first.read_bytes())


def write_cube(path: Path, number: int) -> None:
    from astropy.io import fits

    fits.PrimaryHDU(make_flux(number), fits.Header(CARDS)).writeto(path)


def write_tiles(path: Path, number: int) -> None:
    from astropy.io import fits

    tiles = fits.CompImageHDU(make_flux(number), fits.Header(CARDS), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(path)


def write_bands(path: Path, number: int) -> None:
    from astropy.io import fits

    cards = {key: value for key, value in CARDS.items() if not key.startswith("BAND")}
    plane = make_flux(number // 3)["grz".index(path.stem[-1])]
    fits.PrimaryHDU(plane, fits.Header({**cards, "FILTER": path.stem[-1]})).writeto(path)


def make_fits(folder: Path, count: int) -> list[str]:
    write_copies(folder / "fits", count, ".fits", write_cube)
    return [str(folder / "fits")]


def make_crop_auto(folder: Path, count: int) -> list[str]:
    return [*make_fits(folder, count), "--crop", "auto"]


def make_fz(folder: Path, count: int) -> list[str]:
    write_copies(folder / "fz", count, ".fits.fz", write_tiles)
    return [str(folder / "fz")]


def make_jpeg(folder: Path, count: int, data: Path) -> list[str]:
    files = find_files(data, count, folder)
    (folder / "jpeg").mkdir()
    for number, file in enumerate(files):
        (folder / "jpeg" / f"g{number:05d}.jpg").write_bytes(Path(file).read_bytes())
    return [str(folder / "jpeg")]


def make_bands(folder: Path, count: int) -> list[str]:
    (folder / "bands").mkdir()
    for number in range(count):
        for band in "grz":
            path = folder / "bands" / f"g{number:05d}_{band}.fits"
            first = folder / "bands" / f"g{number % DIFFERENT:05d}_{band}.fits"
            if path == first:
                write_bands(path, 3 * number)
            else:
                path.write_bytes(first.read_bytes())
    return [str(folder / "bands"), "--bands-from-name", "{id}_{band}.fits"]


def make_mosaic(folder: Path, count: int, side: int = 8192) -> list[str]:
    from astropy.io import fits

    rng = np.random.default_rng(0)
    names = []
    for band in "grz":
        plane = rng.normal(0, 0.003, (side, side)).astype(np.float32)
        header = fits.Header({**CARDS, "CRPIX1": side / 2, "CRPIX2": side / 2, "FILTER": band})
        for key in ("BANDS", "BAND0", "BAND1", "BAND2"):
            del header[key]
        path = folder / f"mosaic_{band}.fits"
        fits.PrimaryHDU(plane, header).writeto(path)
        names += ["--mosaic", str(path)]
    away = (rng.uniform(-0.45, 0.45, (count, 2)) * side * 0.262 / 3600).round(7)
    lines = [f"p{n},{180 + x:.7f},{10 + y:.7f}" for n, (x, y) in enumerate(away)]
    catalogue = folder / "positions.csv"
    catalogue.write_text("\n".join(["object_id,ra,dec", *lines]))
    return [*names, "--catalogue", str(catalogue), "--fov", "40"]


def make_arrays(folder: Path, count: int) -> Path:
    """Fluxes (n, 3, 256, 256) in one file, to be loaded before anything is timed."""
    some = np.stack([make_flux(number) for number in range(min(count, DIFFERENT))])
    np.save(folder / "flux.npy", some[np.arange(count) % len(some)])
    return folder / "flux.npy"


def make_npy(folder: Path, count: int) -> list[str]:
    some = np.stack([make_flux(number) for number in range(min(count, DIFFERENT))])
    pixels = np.clip(some * 900, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    np.save(folder / "rgb.npy", pixels[np.arange(count) % len(some)])
    return [str(folder / "rgb.npy")]


KINDS: dict[str, Callable[..., list[str]]] = {
    **{"fits": make_fits, "crop_auto": make_crop_auto, "fz": make_fz, "mosaic": make_mosaic},
    **{"bands": make_bands, "npy": make_npy, "jpeg": make_jpeg},
}


def run(command: list[str], root: Path, cores: list[int]) -> str:
    """Run a command of a checkout on some cores; in its folder, which Python looks into first."""
    where = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command,
        cwd=root,
        env=where,
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return done.stdout


def time_command(arguments: list[str], root: Path, cores: list[int]) -> float:
    """Seconds of one run of the command line."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.fits")
        began = time.perf_counter()
        command = [sys.executable, "-m", "galmorph", "classify", *arguments, "-q", "-o", out]
        run(command, root, cores)
        return time.perf_counter() - began


def time_memory(file: Path, options: str, root: Path, cores: list[int]) -> float:
    """Seconds of `galmorph.classify`, loading and start-up left out."""
    with tempfile.TemporaryDirectory() as folder:
        code = IN_MEMORY.format(options=options)
        command = [sys.executable, "-c", code, str(file), str(Path(folder) / "out.fits")]
        return float(run(command, root, cores))


def list_works(
    kind: str, folder: Path, options: argparse.Namespace
) -> dict[str, Callable[[Path, list[int]], float]]:
    """What is to be timed of a kind, by name: seconds of all its images, start-up taken off."""
    if kind == "arrays":
        file = make_arrays(folder, options.images)
        return {
            f"arrays, {name}": lambda root, cores, name=name: time_memory(
                file, f"stretch={name!r}, bands=('g', 'r', 'z')", root, cores
            )
            for name in STRETCHES
        }
    more = {"data": options.data} if kind == "jpeg" else {}
    arguments = KINDS[kind](folder, options.images, **more)

    def work(root: Path, cores: list[int]) -> float:
        whole = time_command(arguments, root, cores)
        return whole - time_command([*arguments, "--part", f"1/{options.images}"], root, cores)

    work.arguments = arguments  # type: ignore[attr-defined]
    return {kind: work}


def main() -> None:
    """Print a row for every kind."""
    parser = make_parser(__doc__, images=2000)
    parser.add_argument("--kinds", nargs="+", default=[*KINDS, "arrays"])
    parser.add_argument("--cores", type=int, nargs="+", default=sorted(os.sched_getaffinity(0)))
    parser.add_argument("--against", type=Path, help="another checkout, run in turns with this one")
    options = parser.parse_args()
    print_machine()
    rows = []
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            for name, work in list_works(kind, Path(folder), options).items():
                own, other = [], []
                for _ in range(options.runs):
                    if options.against is not None:
                        other.append(work(options.against.resolve(), options.cores))
                    own.append(work(ROOT, options.cores))
                rate = options.images / statistics.median(own)
                ratios = [o / s for o, s in zip(other, own, strict=True)] if other else []
                said = f"{statistics.median(ratios):.2f} times as fast" if ratios else ""
                rows.append((name, f"{rate:8.1f} images/s", said))
                print("  ".join(rows[-1]), flush=True)
    print_rows(f"{options.images} images, cores {options.cores}", rows)


if __name__ == "__main__":
    main()
