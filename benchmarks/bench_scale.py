"""Cost model: time and peak memory of ``galmorph classify`` for ever longer lists, of any kind of input.

The files are links to the same images, and every length runs in a process of its own, which has
run a part of it before.

    python benchmarks/bench_scale.py --lengths 1000 10000 100000
    python benchmarks/bench_scale.py --kinds fits bands mosaic npy --lengths 1000 10000
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bench_inputs import KINDS, time_command
from common import ROOT, make_parser, print_machine, print_rows


def main() -> None:
    """Time every length of every kind."""
    parser = make_parser(__doc__, images=2000)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--kinds", nargs="+", default=["jpeg"], choices=list(KINDS))
    options = parser.parse_args()
    print_machine()
    cores = sorted(os.sched_getaffinity(0))
    rows = [("kind", "images", "time", "each", "against the first", "peak memory")]
    for kind in options.kinds:
        more = {"data": options.data} if kind == "jpeg" else {}
        first = 0.0
        for count in options.lengths:
            with tempfile.TemporaryDirectory() as folder:
                arguments = KINDS[kind](Path(folder), count, **more)
                seconds, peak = time_command(arguments, ROOT, cores)
            each = 1000 * seconds / count
            first = first or each
            said = f"{each:.3f} ms", f"{100 * each / first:.0f} %", f"{peak:.0f} MiB"
            rows.append((kind, f"{count}", f"{seconds:.1f} s", *said))
            print("  ".join(rows[-1]), flush=True)
    print_rows("fused_fast, to a FITS table, all cores; memory of the process with the table", rows)


if __name__ == "__main__":
    main()
