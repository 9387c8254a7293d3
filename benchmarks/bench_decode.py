"""Stage 1, file to array: Pillow alone, and `read_cutout` around it.

python benchmarks/bench_decode.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import find_files, make_parser, measure, print_machine, print_rows
from PIL import Image

from galmorph.images.options import ReadOptions
from galmorph.images.read import read_cutout


def decode_with_pillow(path: Path, side: int | None = None) -> None:
    """Decode as Pillow's own users do, at a reduced scale if it keeps ``side`` pixels."""
    image = Image.open(path)
    if side is not None:
        image.draft(None, (side, side))
    image.load()


def main() -> None:
    """Time each way of decoding, in one thread."""
    options = make_parser(__doc__, images=400).parse_args()
    print_machine()
    half, whole = ReadOptions(min_side=200), ReadOptions()
    ways: dict[str, Callable[[Path], Any]] = {
        "Pillow, whole": decode_with_pillow,
        "Pillow, 1/2 by its DCT": lambda path: decode_with_pillow(path, 200),
        "Pillow, 1/4 by its DCT": lambda path: decode_with_pillow(path, 100),
        "read_cutout, whole": lambda path: read_cutout(path, options=whole),
        "read_cutout, 1/2": lambda path: read_cutout(path, options=half),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = find_files(options.data, options.images, Path(folder))
        rows = []
        for name, way in ways.items():
            timing = measure(
                lambda way=way: [way(p) for p in files], len(files), runs=options.runs, cpu=True
            )
            rows.append((name, f"{1e6 / timing.rate:6.0f} us", str(timing)))
    print_rows(f"decoding {options.images} JPEG files of 424 px, one thread, processor time", rows)


if __name__ == "__main__":
    main()
