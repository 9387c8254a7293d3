"""Stage 1, file to array: Pillow alone, `read_cutout`, and other decoders where installed.

python benchmarks/bench_decode.py
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import find_files, make_parser, measure, print_machine, print_rows
from PIL import Image

from galmorph.images import jpeg
from galmorph.images.read import read_cutout
from galmorph.inference.cores import keep_freed_memory
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.settings import FieldOptions, ReadOptions

WHOLE = ReadOptions()


def decode_with_pillow(path: Path, side: int | None = None) -> None:
    """Decode as Pillow's own users do, at a reduced scale if it keeps ``side`` pixels."""
    image = Image.open(path)
    if side is not None:
        image.draft(None, (side, side))
    image.load()


def read_with_pillow(path: Path, told: ReadOptions = WHOLE) -> None:
    """`read_cutout` as it is without the extra jpeg."""
    before, jpeg._import_simplejpeg = jpeg._import_simplejpeg, lambda: None  # type: ignore[assignment]
    try:
        read_cutout(path, options=told)
    finally:
        jpeg._import_simplejpeg = before


def decode_all(way: Callable[[Path], Any], files: list[Path]) -> None:
    """One after the other; nothing is kept, as in a run."""
    for path in files:
        way(path)


def list_other_decoders() -> dict[str, Callable[[Path], Any]]:
    """Decoders that are not used but are installed, each on a whole file."""
    decoders: dict[str, Callable[[Path], Any]] = {}
    for name in ("imagecodecs", "cv2"):
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        if name == "imagecodecs":
            decoders[name] = lambda path, i=library: i.jpeg8_decode(path.read_bytes())
        else:
            library.setNumThreads(1)
            decoders["OpenCV"] = lambda path, cv2=library: cv2.imread(str(path))
    return decoders


def main() -> None:
    """Time each way of decoding, in one thread."""
    options = make_parser(__doc__, images=400).parse_args()
    print_machine()
    half = ReadOptions(min_side=200)
    told = Preprocessing().tell_reader(WHOLE, FieldOptions())
    ways: dict[str, Callable[[Path], Any]] = {
        "Pillow, whole": decode_with_pillow,
        "Pillow, 1/2 by its DCT": lambda path: decode_with_pillow(path, 200),
        "Pillow, 1/4 by its DCT": lambda path: decode_with_pillow(path, 100),
        "read_cutout, whole, by Pillow": read_with_pillow,
        "read_cutout, no further than the field, by Pillow": lambda path: read_with_pillow(
            path, told
        ),
        "read_cutout, 1/2": lambda path: read_cutout(path, options=half),
    }
    if jpeg._import_simplejpeg() is not None:
        ways["read_cutout, whole, by simplejpeg"] = read_cutout
        ways["read_cutout, no further than the field, by simplejpeg"] = lambda path: read_cutout(
            path, options=told
        )
    ways |= list_other_decoders()
    keep_freed_memory()  # as the command line does
    with tempfile.TemporaryDirectory() as folder:
        files = find_files(options.data, options.images, Path(folder))
        rows = []
        for name, way in ways.items():
            timing = measure(
                lambda way=way: decode_all(way, files), len(files), runs=options.runs, cpu=True
            )
            rows.append((name, f"{1e6 / timing.rate:6.0f} us", str(timing)))
    print_rows(f"decoding {options.images} JPEG files of 424 px, one thread, processor time", rows)


if __name__ == "__main__":
    main()
