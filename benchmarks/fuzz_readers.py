"""Break good files in thousands of ways, and light a bomb of every kind: readers keep their promises.

Every mutant is written to a file and read in a child process, as a run would read it. Counted are
crashes (the child dies; no harm where runs read such files in processes that may), hangs (over 5 s
of the processor, or 30 s), the memory of the child at its highest, and whether a file gives either
what is in it or one of the errors that its reader promises.

    python benchmarks/fuzz_readers.py [--count 10000] [--seed 0] [--data ../shared/data]   (images)
    python benchmarks/fuzz_readers.py --kind stored --count 3000   (models, heads, recipes, manifest)
    python benchmarks/fuzz_readers.py --bombs                      (of tests/bombs.py)

The seeds are small files of every kind made by tests/mutants.py and, where the folder of real
images is there, the files of its ``fits`` folder and a few JPEGs; tests/table_mutants.py makes the
tables, tests/model_mutants.py the rest. ``--kind`` is a name that ``--list`` prints, or what such
names begin with. Of images a part of the sky is read as well.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import itertools
import math
import multiprocessing as mp
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

HANG_S = 5.0
GIVE_UP_S = 30.0
REAL_SHARE = 0.15
MAX_ROWS = 50
MAX_SAID = 15_000
"""Letters of a message, which may name a hundred columns."""
COSTS_A_ROW = "ended its process, which costs a run one row"
"""A library crashed; `galmorph.inference.processes` says whose files are read where."""

BUDGET_BYTES = 1 << 30
"""Of memory for one file: twice what the largest image may take, and the libraries."""


class UnpromisedError(Exception):
    """What no reader may do."""


def read_image(path: str) -> str:
    """The cutouts of a file, each also as a part of the sky, where it has a place there."""
    from galmorph.errors import AmbiguousShapeError, BandError, ImageError, PixelError
    from galmorph.images.discover import discover_sources
    from galmorph.images.read import read_cutout
    from galmorph.preprocessing.render import render
    from galmorph.settings import ReadOptions

    outcome = "nothing in it"
    for source in itertools.islice(discover_sources(path), MAX_ROWS):
        try:
            outcome = "read"
            cutout = read_cutout(source)
            if cutout.pixel_scale > 0:
                scale, center = cutout.pixel_scale, (cutout.ra, cutout.dec)
                for fov, where in ((8 * scale, None), (scale, center)):
                    read_cutout(path, options=ReadOptions(center=where, fov=min(fov, 1e9)))
            render(cutout)
        except (ImageError, BandError, AmbiguousShapeError, PixelError) as error:
            outcome = type(error).__name__
            if not str(error):
                raise UnpromisedError("an error without a message") from error
    return outcome


def read_catalogue(path: str) -> str:
    """All rows of a catalogue."""
    from galmorph.tables import read_catalogue

    catalogue = read_catalogue(path, path_column="file", id_column="id")
    for row in catalogue:
        if {len(row.columns), *map(type, (row.path, row.object_id))} != {len(catalogue.specs), str}:
            raise UnpromisedError(f"a row of other columns: {row}")
    return "read"


def read_result(path: str) -> str:
    """All columns of a result, and its embeddings; npy has no more."""
    from galmorph.saved import SavedRun
    from galmorph.tables import check_format

    if path.endswith(".npy"):
        list(check_format(path, "embed").reader(Path(path)).chunks())
        return "read"
    run = SavedRun(path)
    sizes = {name: len(values) for name, values in run.columns(run.specs).items()}
    sizes["embedding"] = sum(map(len, run.embeddings()))
    if len(set(sizes.values())) != 1:
        raise UnpromisedError(f"columns of different length: {sizes}")
    return "read"


def read_model(path: str) -> str:
    """A model, whose numbers are finite."""
    import numpy as np

    from galmorph.model import read_model

    state = getattr(read_model(path).encoder, "state_dict", dict)()
    if not all(bool(np.isfinite(value.numpy()).all()) for value in state.values()):
        raise UnpromisedError("numbers that are not finite")
    return "read"


def read_head(path: str) -> str:
    """A file of heads."""
    from galmorph.model import read_heads

    return "read" if read_heads(path).heads else "nothing in it"


def read_manifest(path: str) -> str:
    """The manifest of models."""
    from galmorph.weights.manifest import load_manifest

    load_manifest(path)
    return "read"


def read_recipe(path: str) -> str:
    """A recipe of training."""
    from galmorph.training.recipe import load_recipe

    recipe = load_recipe(path)
    if not all(math.isfinite(v) for v in recipe.to_dict().values() if isinstance(v, float)):
        raise UnpromisedError("numbers that are not finite")
    return "read"


READS: dict[str, Callable[[str], str]] = {
    read.__name__.removeprefix("read_"): read
    for read in (read_image, read_catalogue, read_result, read_model, read_head, read_manifest)
} | {"recipe": read_recipe}


def read_one(what: str, path: str) -> tuple[str, str]:
    """Outcome of one file: a class name, and the message where it is none of the promised."""
    from galmorph.errors import GalmorphError, ImageError, MissingExtraError

    promised = (ImageError, MissingExtraError) if what == "image" else GalmorphError
    try:
        return READS[what](path), ""
    except promised as error:
        said = str(error)
        odd = not said or len(said) > MAX_SAID or ("\n" in said and what != "image")
        return type(error).__name__, f"message {said!r}" if odd else ""
    except Exception as error:
        return f"UNPROMISED {type(error).__name__}", str(error)[:300] or "without a message"


def serve(pipe: Connection) -> None:
    """Read the files that the parent names, until it names none."""
    warnings.simplefilter("ignore")
    while True:
        asked = pipe.recv()
        if asked is None:
            return
        start, work = time.perf_counter(), time.process_time()
        outcome, message = read_one(*asked)
        elapsed, work = time.perf_counter() - start, time.process_time() - work
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pipe.send((outcome, message, elapsed, work, peak))


class Reader:
    """A child process that can be asked to read, and that may die of it."""

    def __init__(self) -> None:
        context = mp.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def read(self, what: str, path: str) -> tuple[str, str, float, float, int]:
        """Outcome, message, seconds by the clock and of the processor, highest memory so far."""
        try:
            self.pipe.send((what, path))
            if not self.pipe.poll(GIVE_UP_S):
                self.process.kill()
                self.process.join()
                return "HANG", "", GIVE_UP_S, GIVE_UP_S, 0
            answer: tuple[str, str, float, float, int] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return f"CRASH {self.process.exitcode}", "", 0.0, 0.0, 0
        return answer

    def close(self) -> None:
        """End the child, if it has not ended itself."""
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.process.join(10)


def is_bad(outcome: str, message: str, work: float, memory: int) -> bool:
    """Whether a promise was broken."""
    slow_or_large = work > HANG_S or memory > BUDGET_BYTES
    return bool(message) or outcome.startswith(("CRASH", "HANG")) or slow_or_large


@dataclass(frozen=True)
class Kind:
    """What is read, the end of the file's name, whole files, and the way to break them."""

    what: str
    ending: str
    seeds: Sequence[bytes]
    spoil: Callable[[bytes, random.Random], bytes]
    real: Sequence[bytes] = ()

    def break_one(self, rng: random.Random) -> bytes:
        """A mutant."""
        seeds = self.real if self.real and rng.random() < REAL_SHARE else self.seeds
        return self.spoil(rng.choice(seeds), rng)


def list_image_kinds(data: Path) -> dict[str, Kind]:
    """Images together, of each format, containers, and headers."""
    import mutants

    seeds, mutate = mutants.make_seeds(), mutants.mutate
    real = sorted((data / "fits").glob("*")) + sorted((data / "gz2/test/spiral").glob("*"))[:5]
    whole = [path.read_bytes() for path in real]
    kinds = {"images": Kind("image", "", list(seeds.values()), mutate, whole)}
    for name in ("jpeg", "png", "tiff", "webp", "fits"):
        some = [data for seed, data in seeds.items() if seed.partition("_")[0] == name]
        kinds[name] = Kind("image", "", some, mutate)
    for end, container in mutants.make_containers().items():
        kinds[end] = Kind("image", f".{end}", [container], mutate)
    if find_spec("zarr"):
        kinds["zarr"] = Kind("image", ".zarr", [mutants.make_zarr()], mutants.mutate_member)
    kinds["headers"] = Kind("image", "", [b""], lambda _, rng: mutants.make_header_mutant(rng))
    return kinds


def list_table_kinds(folder: Path) -> dict[str, Kind]:
    """Catalogues and results of each format."""
    from table_mutants import KINDS, mutate_text, write_seeds

    kinds = {}
    for name in KINDS:
        what, _, ending = name.partition(".")
        inner = folder / name
        inner.mkdir()
        kinds[name] = Kind(what, f".{ending}", write_seeds(inner, name), mutate_text)
    return kinds


def list_stored_kinds(folder: Path) -> dict[str, Kind]:
    """Models, their ONNX exports, heads, recipes and the manifest."""
    from model_mutants import make_stored

    return {
        f"stored.{name}": Kind(name.partition(".")[0], f".{name}", [whole], spoil)
        for name, (whole, spoil) in make_stored(folder).items()
    }


def list_kinds(prefix: str, data: Path, folder: Path) -> dict[str, Kind]:
    """The kind of this name, or those that it begins up to a point; all of them for ""."""
    first = prefix.partition(".")[0]
    kinds: dict[str, Kind] = {}
    if first not in ("stored", "catalogue", "result"):
        kinds |= list_image_kinds(data)
    if first in ("", "catalogue", "result"):
        kinds |= list_table_kinds(folder)
    if first in ("", "stored"):
        kinds |= list_stored_kinds(folder)
    if not prefix or prefix in kinds:
        return {prefix: kinds[prefix]} if prefix else kinds
    return {name: kind for name, kind in kinds.items() if name.startswith(f"{prefix}.")}


def main() -> int:
    """Run and print the account; the exit status is 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that break a promise")
    default = os.environ.get("GALMORPH_DATA", str(ROOT / ".." / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--kind", default="images", help="mutants of these kinds of files")
    parser.add_argument("--list", action="store_true", help="print the kinds")
    parser.add_argument("--bombs", action="store_true", help="files that unpack to gigabytes")
    options = parser.parse_args()
    if options.bombs:
        return run_bombs(options)
    with tempfile.TemporaryDirectory() as folder:
        kinds = list_kinds("" if options.list else options.kind, options.data, Path(folder))
        if options.list:
            print("\n".join(kinds))
            return 0
        if not kinds:
            parser.error(f"there is no kind {options.kind}; --list prints them")
        broken = [run(name, kind, options) for name, kind in kinds.items()]
    return 1 if any(broken) else 0


def run_bombs(options: argparse.Namespace) -> int:
    """Read every bomb in a process of its own, or those whose names begin with a kind."""
    from bombs import BOMBS, TABLES

    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for end, write in {**BOMBS, **TABLES}.items():
            if not f"{end}.".startswith(f"{options.kind}.") and options.kind != "images":
                continue
            path = Path(folder) / f"bomb.{end}"
            writer = mp.get_context("fork").Process(target=write, args=(path,))
            writer.start()  # not here: the memory of this process counts as that of its children
            writer.join()
            reader = Reader()
            what = "catalogue" if end in TABLES else "image"
            outcome, message, elapsed, work, memory = reader.read(what, str(path))
            gone_off = outcome == "read" and what == "image"
            broken += gone_off or is_bad(outcome, message, work, memory)
            size = path.stat().st_size / 1e6
            said = f"{size:8.2f} MB  {outcome:24} {elapsed:5.2f} s ({work:.2f} s of the processor)  {memory / 1e6:5.0f} MB of memory"
            print(f"{end:24} {said}  {message}", flush=True)
            reader.close()
            path.unlink()
    print(f"promises broken: {broken}")
    return 1 if broken else 0


def place_mutant(folder: Path, number: int, kind: Kind, data: bytes) -> Path:
    """Write a mutant, HATS beside a whole file; what is to be read."""
    # a name of its own: HDF5 knows files that it has open by their place on the disk
    path = folder / f"mutant_{number}{kind.ending}"
    if kind.ending == ".zarr":
        zipfile.ZipFile(io.BytesIO(data)).extractall(path)
    elif kind.ending == ".hats":
        path.mkdir()
        (path / "a.parquet").write_bytes(kind.seeds[0])
        (path / ("b.parquet" if number % 2 else "Z.parquet")).write_bytes(data)
    else:
        path.write_bytes(data)
    return path


def start_reader(kind: Kind) -> Reader:
    """A child that has read a whole file, and so loaded what it needs."""
    reader = Reader()
    with tempfile.TemporaryDirectory() as folder:
        reader.read(kind.what, str(place_mutant(Path(folder), 0, kind, kind.seeds[0])))
    return reader


def run(name: str, kind: Kind, options: argparse.Namespace) -> int:
    """Make mutants, have them read, and print what came of it."""
    from galmorph.inference.processes import SIGNATURES

    rng = random.Random(options.seed)
    outcomes: collections.Counter[str] = collections.Counter()
    slowest, longest, peak, broken = 0.0, 0.0, 0, 0
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        reader = start_reader(kind)
        for number in range(options.count):
            data = kind.break_one(rng)
            path = place_mutant(Path(folder), number, kind, data)
            outcome, message, elapsed, work, memory = reader.read(kind.what, str(path))
            if outcome.startswith("CRASH") and kind.what == "image":
                outcome = outcome if data.startswith(SIGNATURES) else COSTS_A_ROW
            outcomes[outcome] += 1
            slowest, longest, peak = max(slowest, elapsed), max(longest, work), max(peak, memory)
            if bad := is_bad(outcome, message, work, memory):
                broken += 1
                print(f"mutant {number}: {outcome} {elapsed:.2f} s {message}", flush=True)
                if options.keep is not None:
                    (options.keep / f"{name}_{number}{kind.ending}").write_bytes(data)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            if bad or not reader.process.is_alive():
                reader.close()
                reader = start_reader(kind)
        reader.close()
    said = f"{options.count} mutants, {time.perf_counter() - start:.0f} s"
    bounds = f"slowest {slowest:.2f} s ({longest:.2f} s of the processor), highest memory {peak / 1e6:.0f} MB"
    print(f"{name}: {said}, {bounds}, promises broken: {broken}")
    for outcome, number in outcomes.most_common():
        print(f"  {number:6d}  {outcome}", flush=True)
    return broken


if __name__ == "__main__":
    sys.exit(main())
