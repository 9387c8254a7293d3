"""Stage 2, array to what the encoder sees: crop, resize, flags.

python benchmarks/bench_prepare.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from common import find_files, make_parser, measure, print_machine, print_rows
from PIL import Image

from galmorph.images.read import read_cutout
from galmorph.inference.reading import chunk
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.preprocessing.size import measure_sizes, to_grey
from galmorph.settings import FieldOptions

AT_ONCE = 16


def main() -> None:
    """Time the preparation of images that are already decoded, in one thread."""
    options = make_parser(__doc__, images=400).parse_args()
    print_machine()
    torch.set_num_threads(1)  # it is loaded beside an encoder, and then shrinks whole pixels
    steps = Preprocessing()
    with tempfile.TemporaryDirectory() as folder:
        files = find_files(options.data, options.images, Path(folder))
        cutouts = [read_cutout(path) for path in files]
        images = [Image.open(path).convert("RGB") for path in files]

    def prepare(field: FieldOptions) -> None:
        """As in a run, where images wait for each other up to a bound in bytes."""
        for some in chunk(cutouts, AT_ONCE):
            steps.finish([steps.place(cutout, field=field) for cutout in some])

    ways = {
        "Pillow: crop 180 px, resize to 84": lambda: [
            i.crop((122, 122, 302, 302)).resize((84, 84), Image.Resampling.BILINEAR) for i in images
        ],
        "prepare, central 180 of 424 px": lambda: prepare(FieldOptions()),
        "the same, one at a time": lambda: [steps.prepare(c) for c in cutouts],
        "prepare, whole frame": lambda: prepare(FieldOptions(crop=1.0)),
        "prepare, --crop auto (measures the galaxy)": lambda: prepare(FieldOptions(crop="auto")),
    }
    ways["the measurement alone"] = lambda: [
        measure_sizes((c.array, to_grey(c.array)) for c in some) for some in chunk(cutouts, AT_ONCE)
    ]
    rows = []
    for name, way in ways.items():
        timing = measure(way, len(files), runs=options.runs, cpu=True)
        rows.append((name, f"{1e6 / timing.rate:6.0f} us", str(timing)))
    print_rows(f"preparing {len(files)} decoded images, one thread, processor time", rows)


if __name__ == "__main__":
    main()
