"""Every kind of input to a FITS table: images per second of whole runs, start-up taken off.

Makes its own inputs (1 GB with mosaics of the full size) and reads each with the command line, or,
what is in memory, with `galmorph.classify`, once that is warm. With `--against FOLDER`, another
checkout, each run is paired with one of that, and the ratio is printed; with `--plain`, FITS cubes
also go through the usual pipeline of astropy and a DataLoader, with the same encoder.

    python benchmarks/bench_inputs.py
    python benchmarks/bench_inputs.py --kinds fits fz --cores 0 --against ../before --plain
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, find_files, make_parser, print_machine

CARDS = {
    **{"SURVEY": "LegacySurvey", "VERSION": "DR9", "IMAGETYP": "IMAGE", "BANDS": "grz"},
    **{"BAND0": "g", "BAND1": "r", "BAND2": "z", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"},
    **{"CRVAL1": 180.0, "CRVAL2": 10.0, "CRPIX1": 128.5, "CRPIX2": 128.5},
    **{"CD1_1": -0.262 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.262 / 3600},
}
SIDE = 256
DIFFERENT = 100
"""Files that differ; further ones are links to them."""

STRETCHES = ("legacysurvey", "percentile", "gzdecals", "asinh", "lupton", "zscale")

WHOLE = """
import os, resource, sys, time
from galmorph.cli.main import cli
def run(name, *more):
    words = [*sys.argv[2:], "-q", "-o", f"{sys.argv[1]}/{name}.fits", *more]
    began = time.perf_counter()
    cli.main(["classify", *words], prog_name="galmorph", standalone_mode=False)
    seconds = time.perf_counter() - began
    return os.path.getsize(f"{sys.argv[1]}/{name}.fits") and seconds
run("warm", "--part", "1/20")
print(run("out"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
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


def write_links(folder: Path, count: int, suffix: str, write: Callable[[Path, int], None]) -> None:
    """``count`` files, a thousand in a folder, the later ones links to the first."""
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"g{number:07d}{suffix}"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        if number < DIFFERENT:
            write(path, number)
        else:
            path.symlink_to(folder / "0000" / f"g{number % DIFFERENT:07d}{suffix}")


def write_cube(path: Path, number: int) -> None:
    from astropy.io import fits

    fits.PrimaryHDU(make_flux(number), fits.Header(CARDS)).writeto(path)


def write_tiles(path: Path, number: int) -> None:
    from astropy.io import fits

    tiles = fits.CompImageHDU(make_flux(number), fits.Header(CARDS), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(path)


def write_band(band: int, path: Path, number: int) -> None:
    from astropy.io import fits

    cards = {key: value for key, value in CARDS.items() if not key.startswith("BAND")}
    header = fits.Header({**cards, "FILTER": "grz"[band]})
    fits.PrimaryHDU(make_flux(number)[band], header).writeto(path)


def make_fits(folder: Path, count: int) -> list[str]:
    write_links(folder / "fits", count, ".fits", write_cube)
    return [str(folder / "fits")]


def make_crop_auto(folder: Path, count: int) -> list[str]:
    return [*make_fits(folder, count), "--crop", "auto"]


def make_fz(folder: Path, count: int) -> list[str]:
    write_links(folder / "fz", count, ".fits.fz", write_tiles)
    return [str(folder / "fz")]


def make_jpeg(folder: Path, count: int, data: Path) -> list[str]:
    files = find_files(data, min(count, 2000), folder)
    for number in range(count):
        path = folder / "jpeg" / f"{number // 1000:04d}" / f"g{number:07d}.jpg"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.symlink_to(Path(files[number % len(files)]).resolve())
    return [str(folder / "jpeg")]


def make_bands(folder: Path, count: int) -> list[str]:
    for n, band in enumerate("grz"):
        write_links(folder / "bands" / band, count, f"_{band}.fits", partial(write_band, n))
    return [str(folder / "bands"), "--bands-from-name", "*/*/{id}_{band}.fits"]


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


def make_bytes(folder: Path, count: int) -> Path:
    """Colours (n, 256, 256, 3) in one file."""
    some = np.stack([make_flux(number) for number in range(min(count, DIFFERENT))])
    pixels = np.clip(some * 900, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    np.save(folder / "rgb.npy", pixels[np.arange(count) % len(some)])
    return folder / "rgb.npy"


def make_npy(folder: Path, count: int) -> list[str]:
    return [str(make_bytes(folder, count))]


def make_hdf5(folder: Path, count: int) -> list[str]:
    import h5py

    with h5py.File(folder / "rgb.h5", "w") as file:
        file["images"] = np.load(make_bytes(folder, count))
    return [str(folder / "rgb.h5")]


def make_parquet(folder: Path, count: int, data: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow import parquet

    files = find_files(data, min(count, 2000), folder)
    images = [Path(files[number % len(files)]).read_bytes() for number in range(count)]
    parquet.write_table(pa.table({"image": images}), folder / "images.parquet", row_group_size=500)
    return [str(folder / "images.parquet")]


LABELS = {
    "fits": "FITS cube, 3 x 256 x 256 float32",
    "crop_auto": "the same with `--crop auto`",
    "fz": "the same in RICE tiles, `.fits.fz`",
    "mosaic": "positions in three mosaics, 40 arcsec",
    "bands": "three FITS files each, one per band",
    "npy": "uint8 stack in a npy file, 256 px",
    "bytes": "uint8 arrays in memory, 256 px",
    "hdf5": "the same in an HDF5 file",
    "parquet": "JPEG, 424 px, in a Parquet file",
    "jpeg": "JPEG, 424 px",
}
Timed = Callable[[list[int]], float]

KINDS: dict[str, Callable[..., list[str]]] = {
    **{"fits": make_fits, "crop_auto": make_crop_auto, "fz": make_fz, "mosaic": make_mosaic},
    **{"bands": make_bands, "npy": make_npy, "hdf5": make_hdf5},
    **{"parquet": make_parquet, "jpeg": make_jpeg},
}


def run(command: list[str], root: Path, cores: list[int]) -> str:
    """Run a command of a checkout on some cores; in its folder, which Python looks into first."""
    where = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command,
        cwd=root,
        env=where,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def time_command(arguments: list[str], root: Path, cores: list[int]) -> tuple[float, float]:
    """Seconds of one run of the command line, in a process that has run a part of it before.

    And the most memory that it had, in MiB.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = run([sys.executable, "-c", WHOLE, folder, *arguments], root, cores)
    seconds, peak = map(float, said.split()[-2:])
    return seconds, peak


def time_memory(file: Path, options: str, root: Path, cores: list[int]) -> float:
    """Seconds of `galmorph.classify`, loading and start-up left out."""
    with tempfile.TemporaryDirectory() as folder:
        code = IN_MEMORY.format(options=options)
        command = [sys.executable, "-c", code, str(file), str(Path(folder) / "out.fits")]
        return float(run(command, root, cores))


def time_plain(folder: Path, cores: list[int]) -> float:
    """Seconds of the usual pipeline on a folder of FITS files."""
    command = [sys.executable, str(ROOT / "benchmarks" / "plain_pipeline.py"), str(folder)]
    return float(run(command, ROOT, cores).split()[-1])


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
    if kind == "bytes":
        file = make_bytes(folder, options.images)
        return {kind: lambda root, cores: time_memory(file, "", root, cores)}
    more = {"data": options.data} if kind in ("jpeg", "parquet") else {}
    arguments = KINDS[kind](folder, options.images, **more)

    def work(root: Path, cores: list[int]) -> float:
        return time_command(arguments, root, cores)[0]

    work.arguments = arguments  # type: ignore[attr-defined]
    return {kind: work}


def compare(
    name: str, work: Timed, rivals: dict[str, Timed], options: argparse.Namespace
) -> tuple[str, ...]:
    """A row: images per second; those of each rival in the same turns, and the ratio."""
    seconds: dict[str, list[float]] = {key: [] for key in ("own", *rivals)}
    for _ in range(options.runs):
        for key, timed in {**rivals, "own": work}.items():
            seconds[key].append(timed(options.cores))
    said = [f"{options.images / statistics.median(seconds['own']):,.0f}"]
    for key in rivals:
        ratio = statistics.median(r / o for r, o in zip(seconds[key], seconds["own"], strict=True))
        said += [f"{options.images / statistics.median(seconds[key]):,.0f}", f"{ratio:.2f}"]
    return (LABELS.get(name, name), f"{options.images:,}", *said)


def main() -> None:
    """Print a row for every kind."""
    parser = make_parser(__doc__, images=2000)
    parser.add_argument("--kinds", nargs="+", default=[*KINDS, "bytes", "arrays"])
    parser.add_argument("--cores", type=int, nargs="+", default=sorted(os.sched_getaffinity(0)))
    parser.add_argument("--against", type=Path, help="another checkout, run in turns with this one")
    parser.add_argument("--plain", action="store_true", help="also astropy and a DataLoader")
    options = parser.parse_args()
    print_machine()
    print("| input | images | images/s | then those of each rival, and the ratio |")
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            for name, work in list_works(kind, Path(folder), options).items():
                rivals: dict[str, Timed] = {}
                if options.against:
                    rivals["before"] = partial(work, options.against.resolve())
                if options.plain and kind in ("fits", "fz"):
                    rivals["plain"] = partial(time_plain, Path(folder) / kind)
                os.sync()  # else the system writes the inputs to the disk meanwhile
                row = compare(name, partial(work, ROOT), rivals, options)
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
