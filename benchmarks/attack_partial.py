"""Damage a partial result in 2,000 ways: each must end in the same table, or in one sentence.

A flipped bit, a cut, two parts swapped, zeros, a part twice, something appended. "silent" would be
another table without a word, "tracebacks" an error that is none of galmorph's.

    python benchmarks/attack_partial.py --tries 2000
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from galmorph.tables import result_columns
from galmorph.tables.columns import class_columns
from tests.tables.damage import attack
from tests.tables.table_cases import CARRIED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # each mended block is one
    specs = result_columns(class_columns(["smooth", "spiral"]), embedding_dim=3, carried=CARRIED)
    with tempfile.TemporaryDirectory() as folder:
        counts = attack(Path(folder), specs, options.tries, seed=options.seed)
    names = ("same", "refused", "silent", "tracebacks")
    print(f"{options.tries} damages: " + ", ".join(f"{counts[name]} {name}" for name in names))
    return 1 if counts["silent"] or counts["tracebacks"] else 0


if __name__ == "__main__":
    sys.exit(main())
