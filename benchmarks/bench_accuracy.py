"""What each way to be faster changes: labels and probabilities of every gz2/test image.

Compared with float32 and whole files. Needs trained weights (the default model, or --model) and
the real images.

    python benchmarks/bench_accuracy.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import make_parser, print_machine, print_rows

from galmorph._api import Job, load_model
from galmorph.images.discover import discover_sources
from galmorph.inference.engine import EngineOptions
from galmorph.preprocessing.pipeline import FieldOptions, Preprocessing


@dataclass(frozen=True)
class FixedReduction(Preprocessing):
    """Lets the decoder reduce a file as long as so many pixels per pixel of the input are left."""

    oversampling: float = 1.0

    def min_side(self, options: FieldOptions) -> int | None:
        return int(np.ceil(self.oversampling * self.img_size / (options.crop or self.crop)))


def compute(model: Any, files: list[Path], precision: str | None) -> Any:
    """Probabilities of every file, (n, num_classes)."""
    head = model.get_head("gz2")
    job = Job(model, head, options=EngineOptions("cpu", precision=precision))
    blocks = [block.embeddings for block in job.run(discover_sources(files))]
    return head.compute_probabilities(np.concatenate(blocks))


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
    steps = FixedReduction(**model.preprocessing.to_dict())
    exact = compute(model, files, "float32")
    ways = {
        "bfloat16": (model, "bfloat16"),
        "float16": (model, "float16"),
        "files decoded at 1/2 (not used)": (replace(model, preprocessing=steps), "float32"),
        "onnxruntime, float32": (load_model(options.model, backend="onnx"), None),
    }
    rows = [("", "other labels", "share", "largest change", "mean change")]
    for name, (used, precision) in ways.items():
        found = compute(used, files, precision)
        changed = int((found.argmax(axis=1) != exact.argmax(axis=1)).sum())
        change = np.abs(found - exact)
        share = f"{changed / len(files):.3%}"
        rows.append((name, f"{changed}", share, f"{change.max():.4f}", f"{change.mean():.6f}"))
    print_rows(f"{model.name}, head gz2, {len(files)} images of gz2/test against float32", rows)


if __name__ == "__main__":
    main()
