"""What each way to be faster changes: labels and probabilities of every gz2/test image.

Compared with float32 and whole files. Needs trained weights (the default model, or --model) and
the real images.

    python benchmarks/bench_accuracy.py
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import make_parser, print_machine, print_rows
from PIL import Image

from galmorph.images.discover import discover_sources
from galmorph.images.memory import InMemory
from galmorph.images.source import Source
from galmorph.pipeline import Pipeline, load_model
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.settings import EngineOptions, FieldOptions


@dataclass(frozen=True)
class FixedReduction(Preprocessing):
    """Lets the decoder reduce a file as long as so many pixels per pixel of the input are left."""

    oversampling: float = 1.0

    def min_side(self, options: FieldOptions) -> int | None:
        if math.isinf(self.oversampling):
            return None
        return int(np.ceil(self.oversampling * self.img_size / (options.crop or self.crop)))


def compute(model: Any, sources: Iterator[Source], precision: str | None) -> Any:
    """Probabilities of every source, (n, num_classes)."""
    head = model.get_head("gz2_clean")
    field = FieldOptions(crop=model.preprocessing.crop)  # a measured field is of the whole file
    engine = EngineOptions(device="cpu", precision=precision)
    pipeline = Pipeline(model, head, field=field, options=engine)
    blocks = [block.embeddings for block in pipeline.run(sources)]
    return head.compute_probabilities(np.concatenate(blocks))


def enlarge(files: list[Path]) -> Iterator[Source]:
    """The same images with five times the pixels along each side, as JPEG in memory."""
    for path in files:
        image, packed = Image.open(path), io.BytesIO()
        size = (5 * image.width, 5 * image.height)
        image.resize(size, Image.Resampling.LANCZOS).save(packed, "JPEG", quality=95)
        yield InMemory(path.stem, packed.getvalue())


def compare(name: str, found: Any, exact: Any) -> tuple[str, ...]:
    """One row of the result."""
    changed = int((found.argmax(axis=1) != exact.argmax(axis=1)).sum())
    change = np.abs(found - exact)
    count = len(exact)
    return (name, f"{count}", f"{changed}", f"{changed / count:.3%}",
            f"{change.max():.4f}", f"{change.mean():.6f}")  # fmt: skip


def main() -> None:
    """Classify every image in every way."""
    parser = make_parser(__doc__, images=100_000)
    parser.add_argument("--model", help="name or file [default: the default model]")
    options = parser.parse_args()
    print_machine()
    files = sorted((options.data / "gz2" / "test").rglob("*.jpg"))[: options.images]
    if not files:
        raise SystemExit(f"no images in {options.data}/gz2/test; set --data")
    model = load_model(options.model)
    whole, any_ = (FixedReduction(**model.preprocessing.to_dict(), oversampling=o)
                   for o in (math.inf, 1.0))  # fmt: skip
    rows = [("", "images", "other labels", "share", "largest change", "mean change")]
    exact = compute(model, discover_sources(files), "float32")
    ways = {
        "bfloat16": (model, "bfloat16"),
        "files of 424 px decoded at 1/2 (not done)": (replace(model, preprocessing=any_), None),
        "onnxruntime": (load_model(options.model, backend="onnx"), None),
    }
    for name, (used, precision) in ways.items():
        found = compute(used, discover_sources(files), precision or "float32")
        rows.append(compare(name, found, exact))

    exact = compute(replace(model, preprocessing=whole), enlarge(files), "float32")
    found = compute(model, enlarge(files), "float32")
    rows.append(compare("files of 2,120 px decoded at 1/2", found, exact))
    print_rows(f"{model.name}, head gz2_clean, gz2/test, against float32 and whole files", rows)


if __name__ == "__main__":
    main()
