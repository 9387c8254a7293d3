"""Mutants of tile-compressed FITS through whole runs of ``galmorph classify``: all rows are there.

python benchmarks/fuzz_crashes.py --count 2000
"""

from __future__ import annotations

import argparse
import collections
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

KINDS = ("hcompress_1", "rice_1", "rice_float", "gzip_1", "plio_1")


def run(kind: str, count: int, seed: int) -> collections.Counter[str]:
    """How many rows have which flags; an error where a row or the run is lost."""
    from astropy.table import Table
    from mutants import make_seeds, mutate

    from galmorph.flags import decode_flags

    whole, rng = make_seeds()[f"fits_{kind}"], random.Random(f"{kind} {seed}")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "in").mkdir()
        for number in range(count):
            (top / "in" / f"m{number:05d}.fits").write_bytes(mutate(whole, rng))
        out = top / "out.ecsv"
        words = ["classify", str(top / "in"), "-q", "-o", str(out)]
        done = subprocess.run(
            [sys.executable, "-m", "galmorph", *words],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode not in (0, 3) or "Traceback" in done.stderr:
            raise SystemExit(f"{kind}: status {done.returncode}: {done.stderr[-2000:]}")
        table = Table.read(out)
    if len(table) != count:
        raise SystemExit(f"{kind}: {len(table)} rows of {count}")
    return collections.Counter(name for flags in table["flags"] for name in decode_flags(flags))


def main() -> None:
    """Print a line for each compression."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    for kind in options.kinds:
        found = run(kind, options.count, options.seed)
        said = ", ".join(f"{name} {number}" for name, number in found.most_common())
        print(f"{kind}: {options.count} of {options.count} rows; {said}", flush=True)


if __name__ == "__main__":
    main()
