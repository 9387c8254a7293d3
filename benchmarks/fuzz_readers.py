"""Break good files in 10,000 ways, and light a bomb of every kind: the readers keep their promises.

Every mutant is written to a file and read in a child process, as a run would read it. Counted are
crashes (the child dies), hangs (longer than the bound by the clock), the memory of the child at its highest, and
whether every file gives either a cutout or one of the errors that the readers promise.

    python benchmarks/fuzz_readers.py [--count 10000] [--seed 0] [--data ../shared/data]
    python benchmarks/fuzz_readers.py --kind npz --count 3000      (mutants of one container)
    python benchmarks/fuzz_readers.py --headers                    (of WCS cards)
    python benchmarks/fuzz_readers.py --bombs                      (of tests/bombs.py)

The seeds are small files of every kind made by tests/mutants.py and, where the folder of real
images is there, the files of its ``fits`` folder and a few JPEGs. ``--kind`` is the end of a name in
`mutants.make_containers` or the start of one in `mutants.make_seeds` (jpeg, png, tiff, webp, fits).
With --headers they are FITS headers whose WCS cards are doubled, swapped, retyped or absurd; a part
of the sky is read as well.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import multiprocessing as mp
import os
import random
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

HANG_S = 5.0
GIVE_UP_S = 60.0
REAL_SHARE = 0.15
MAX_ROWS = 50
BUDGET_BYTES = 1 << 30
"""Of memory for a bomb: twice what the largest image may take, and the libraries."""


def read_one(path: str) -> tuple[str, str]:
    """Outcome of one file: a class name, and the message where it is none of the promised."""
    from galmorph.errors import (
        AmbiguousShapeError,
        BandError,
        ImageError,
        MissingExtraError,
        PixelError,
    )
    from galmorph.images.discover import discover_sources
    from galmorph.images.read import read_cutout
    from galmorph.preprocessing.render import render
    from galmorph.settings import ReadOptions

    outcome = "nothing in it"
    try:
        for source in itertools.islice(discover_sources(path), MAX_ROWS):
            try:
                outcome = "cutout"
                cutout = read_cutout(source)
                if cutout.pixel_scale > 0:
                    scale, center = cutout.pixel_scale, (cutout.ra, cutout.dec)
                    for fov, where in ((8 * scale, None), (scale, center)):
                        read_cutout(path, options=ReadOptions(center=where, fov=min(fov, 1e9)))
                render(cutout)
            except (ImageError, BandError, AmbiguousShapeError, PixelError) as error:
                outcome = type(error).__name__
                if not str(error):
                    return outcome, "an error without a message"
    except (ImageError, MissingExtraError) as error:
        return type(error).__name__, ""
    except Exception as error:
        return f"UNPROMISED {type(error).__name__}", str(error)[:300]
    return outcome, ""


def serve(pipe: Connection) -> None:
    """Read the files that the parent names, until it names none."""
    while True:
        path = pipe.recv()
        if path is None:
            return
        start, work = time.perf_counter(), time.process_time()
        outcome, message = read_one(path)
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

    def read(self, path: str) -> tuple[str, str, float, float, int]:
        """Outcome, message, seconds by the clock and of the processor, highest memory so far."""
        try:
            self.pipe.send(path)
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


def load_seeds(data: Path, kind: str) -> tuple[list[bytes], list[bytes]]:
    """Small made seeds, and real files where there are any; of one kind alone if it is named."""
    from mutants import make_containers, make_seeds

    if kind not in ("", "headers"):
        everything = {**make_containers(), **make_seeds()}
        some = [d for n, d in everything.items() if n == kind or n.startswith(kind + "_")]
        return [*some, *([everything[f"packed.{kind}"]] if kind in ("npz", "h5") else [])], []
    real = sorted((data / "fits").glob("*")) + sorted((data / "gz2/test/spiral").glob("*"))[:5]
    return list(make_seeds().values()), [path.read_bytes() for path in real]


def main() -> int:
    """Run and print the account; the exit status is 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that break a promise")
    default = os.environ.get("GALMORPH_DATA", str(ROOT / ".." / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--headers", action="store_true", help="break the cards of a WCS only")
    parser.add_argument("--kind", default="", help="mutants of this kind of file alone")
    parser.add_argument("--bombs", action="store_true", help="files that unpack to gigabytes")
    options = parser.parse_args()
    if options.bombs:
        return run_bombs()
    kind = "headers" if options.headers else options.kind
    return run(options.count, options.seed, options.data, options.keep, kind)


def run_bombs() -> int:
    """Read every bomb in a process of its own."""
    from bombs import BOMBS

    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for end, write in BOMBS.items():
            path = Path(folder) / f"bomb.{end}"
            writer = mp.get_context("fork").Process(target=write, args=(path,))
            writer.start()  # not here: the memory of this process counts as that of its children
            writer.join()
            reader = Reader()
            outcome, message, elapsed, _, memory = reader.read(str(path))
            bad = bool(message) or outcome == "cutout" or elapsed > HANG_S or memory > BUDGET_BYTES
            broken += bad or outcome.startswith(("CRASH", "HANG"))
            size = path.stat().st_size / 1e6
            said = (
                f"{size:8.2f} MB  {outcome:24} {elapsed:5.2f} s  {memory / 1e6:5.0f} MB of memory"
            )
            print(f"{end:24} {said}  {message}", flush=True)
            reader.close()
            path.unlink()
    print(f"promises broken: {broken}")
    return 1 if broken else 0


def run(count: int, seed: int, data: Path, keep: Path | None, kind: str = "") -> int:
    """Make mutants, have them read, and print what came of it."""
    from mutants import make_containers, make_header_mutant, mutate

    made, real = load_seeds(data, kind)
    rng = random.Random(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    slowest, longest, peak, broken = 0.0, 0.0, 0, 0
    reader = Reader()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        ending = f".{kind}" if kind in make_containers() else ""
        for number in range(count):
            # a name of its own: HDF5 knows files that it has open by their place on the disk
            path = Path(folder) / f"mutant_{number}{ending}"
            if kind == "headers":
                path.write_bytes(make_header_mutant(rng))
            else:
                is_real = real and rng.random() < REAL_SHARE
                path.write_bytes(mutate(rng.choice(real if is_real else made), rng))
            outcome, message, elapsed, work, memory = reader.read(str(path))
            outcomes[outcome] += 1
            slowest, longest = max(slowest, elapsed), max(longest, work)
            peak = max(peak, memory)
            if message or outcome.startswith(("CRASH", "HANG")) or elapsed > HANG_S:
                broken += 1
                print(f"mutant {number}: {outcome} {elapsed:.2f} s {message}", flush=True)
                if keep is not None:
                    (keep / f"mutant_{number}").write_bytes(path.read_bytes())
            path.unlink()
            if not reader.process.is_alive():
                reader = Reader()
    reader.close()
    seconds = time.perf_counter() - start
    kinds = (
        "headers of a WCS" if kind == "headers" else f"{len(made)} made and {len(real)} real seeds"
    )
    print(f"{count} mutated files ({kinds}), {seconds:.0f} s")
    for outcome, number in outcomes.most_common():
        print(f"  {number:6d}  {outcome}")
    print(f"rows accounted for: {sum(outcomes.values())} of {count}")
    print(f"slowest file: {slowest:.2f} s by the clock, {longest:.2f} s of the processor")
    print(f"highest memory: {peak / 1e6:.0f} MB")
    print(f"promises broken: {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
