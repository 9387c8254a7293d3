"""From a pretraining checkpoint to the released model file, with every figure of its model card.

    python benchmarks/make_weights.py RUN/checkpoint.pt fused_fast.safetensors --figures figures.json

Runs the commands ``pretrain --export``, ``fit``, ``evaluate`` and ``classify`` on the folder
that GALMORPH_DATA names (gz2/, sdss/, decals/, as described in docs/training.md), and prints all
figures as JSON. Fields of view, penalties and temperatures are chosen on training parts alone;
test parts are only measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from galmorph.training.checkpoint import load_checkpoint

FRAME = str(224 / 424)
"""The training shards show the central 224 px of 424."""

CROP = str(180 / 424)
"""The model looks at as much of whole frames as it was trained on: 180 of those 224 px."""

RECUT = "0.5"
"""The Galaxy Zoo 2 head also learns from frames of half the field, for --crop auto."""

CLEAN = "gz2_clean"
"""The head of galaxies on which people agree."""

GZ2 = "round,in_between,cigar,edge_on,spiral"
SDSS = "elliptical,spiral,edge_on"
DECALS = "round,in_between,cigar,edge_on,unbarred_spiral,barred_spiral,disturbed,merging"
DECALS4 = "round,cigar,edge_on,unbarred_spiral"
AUTO = ["--crop", "auto"]
"""Frames of DECaLS are not scaled to the galaxy."""

SDSS_CROPS = f"0.38,{180 / 424}"
"""None below 0.38: of less, the shards hold fewer pixels than the network sees, and files more."""
SMOOTH = "smooth=round+in_between+cigar"
ELLIPTICAL = "elliptical=round+in_between+cigar"


class Maker:
    """The commands, one by one, and what they found."""

    def __init__(self, data: Path, model: Path, checkpoint: Path, workers: str | None) -> None:
        self.data, self.model, self.checkpoint = data, str(model), str(checkpoint)
        self.engine = ["--workers", workers] if workers else []
        self.figures: dict[str, Any] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="galmorph_weights_"))

    def call(self, *arguments: str) -> str:
        """Run one command of galmorph; its output."""
        line = " ".join(arguments)
        print(f"galmorph {line}", file=sys.stderr, flush=True)
        began = time.monotonic()
        command = [sys.executable, "-m", "galmorph", *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        print(f"{done.stdout}{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return done.stdout

    def shards(self, name: str) -> list[str]:
        """Training shards of a set."""
        return [str(path) for path in sorted((self.data / name).glob("train-*.tar"))]

    def export(self) -> None:
        """Encoder of the checkpoint, in float16."""
        run = str(Path(self.checkpoint).parent)
        name = Path(self.model).stem
        how = ["--half", "--name", name, "--crop", CROP]
        self.call("pretrain", "-o", run, "--export", self.model, *how)

    def read_recipe(self) -> dict[str, Any]:
        """Recipe of the run."""
        state = load_checkpoint(Path(self.checkpoint))
        recipe: dict[str, Any] = json.loads(state["fingerprint"])["recipe"]
        return recipe

    def held_out(self) -> list[str]:
        """By which labels of the training parts a head is judged."""
        fraction = self.read_recipe().get("hold_out", 0)
        return ["--held-out", str(fraction)] if fraction else []

    def projection(self) -> list[str]:
        """The projection head, where a loss has trained it."""
        recipe = self.read_recipe()
        trained = recipe["nt_xent_weight"] > 0 or recipe["sup_con_weight"] > 0
        return ["--checkpoint", self.checkpoint] if trained else []

    def fit(self, name: str, data: list[str], classes: str, *options: str) -> None:
        """A head, written into the model file."""
        where = ["folders", *data, "--add-to", self.model, "--name", name, "--classes", classes]
        self.call("fit", *where, *options, *self.engine)

    def evaluate(self, key: str, data: str, *options: str) -> None:
        """Figures on one test set."""
        report = self.folder / f"{key}.json"
        where = ["folders", data, "--model", self.model, "-o", str(report)]
        self.call("evaluate", *where, *options, *self.engine)
        found = json.loads(report.read_text(encoding="utf-8"))
        self.figures[key] = found["results"]

    def train_options(self, name: str) -> list[str]:
        """Training part of a set, for kNN from it."""
        options = ["--train-frame", FRAME]
        for shard in self.shards(name):
            options += ["--train-data", shard]
        return options

    def classify(
        self, key: str, data: str, head: str, *options: str, labelled: bool = True
    ) -> None:
        """What a user gets: table of ``classify``, against the folders where they name classes."""
        table = self.folder / f"{key}.csv"
        where = [data, "--model", self.model, "--head", head, "-o", str(table), *options]
        self.call("classify", *where, *self.engine, "--quiet")
        with table.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["object_id"]]
        atypical = [float(row["atypicality"]) > 99 for row in rows if row["atypicality"]]
        self.figures[key] = {
            "count": len(rows),
            "atypical_fraction": sum(atypical) / len(rows),
        }
        if labelled:
            right = [row["label"] == Path(row["path"]).parent.name for row in rows]
            self.figures[key]["accuracy"] = sum(right) / len(rows)


def make_heads(maker: Maker) -> None:
    """All heads of the release: classes by the command, shares and numbers by the tool."""
    maker.export()
    seen = ["--data-frame", FRAME, *maker.held_out()]
    tools = Path(__file__).parents[1] / "tools"
    how = ["--name", CLEAN, "--classes", GZ2, *seen, "--recut", RECUT, *maker.engine]
    decals = [str(maker.data / "decals")]
    recut = [sys.executable, str(tools / "fit_recut.py"), maker.model, *maker.shards("gz2"), *how]
    recut += ["--measured", *decals]
    subprocess.run(recut, check=True)
    maker.fit("sdss", maker.shards("sdss"), SDSS, *seen, "--select-crop", SDSS_CROPS)
    maker.fit("decals", decals, DECALS, *AUTO)
    maker.fit("decals4", decals, DECALS4, *AUTO)
    cache = str(maker.folder / "embeddings")
    heads = [sys.executable, str(tools / "make_heads.py"), maker.model, "--cache", cache]
    subprocess.run(heads, check=True)


def measure(maker: Maker) -> None:
    """All figures of the model card."""
    gz2, sdss = str(maker.data / "gz2" / "test"), str(maker.data / "sdss" / "test")
    decals = str(maker.data / "decals")
    projection = [*maker.projection(), "--protocols", "head,knn,loo"]
    maker.evaluate("gz2", gz2, "--head", CLEAN, *maker.train_options("gz2"), *projection)
    only_head = ["--protocols", "head"]
    maker.evaluate("gz2_smooth", gz2, "--head", CLEAN, "--merge", SMOOTH, *only_head)
    maker.evaluate("sdss", sdss, "--head", "sdss", *maker.train_options("sdss"), *projection)
    maker.evaluate("gz2_head_on_sdss", sdss, "--head", CLEAN, "--merge", ELLIPTICAL, *only_head)
    maker.evaluate("sdss_head_on_gz2", gz2, "--head", "sdss", "--merge", ELLIPTICAL, *only_head)
    folds = ["--folds", "5", *AUTO, "--protocols", "probe,knn"]
    maker.evaluate("decals", decals, "--classes", DECALS, *folds)
    maker.evaluate("decals4", decals, "--classes", DECALS4, *folds)
    maker.classify("gz2_classify", gz2, CLEAN)
    maker.classify("sdss_classify", sdss, "sdss")
    maker.classify("gz2_on_decals_classify", decals, CLEAN, *AUTO, labelled=False)
    maker.classify("artifacts_classify", str(maker.data / "artifacts"), CLEAN, labelled=False)


def main() -> None:
    """Parse, make, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="RUN/checkpoint.pt of galmorph pretrain")
    parser.add_argument("model", type=Path, help="model file to write, NAME.safetensors")
    parser.add_argument("--figures", type=Path, help="write the figures here as well")
    parser.add_argument("--workers", help="threads [default: one per core]")
    parser.add_argument("--measure-only", action="store_true", help="the model file is there")
    options = parser.parse_args()
    data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    if not (data / "gz2").is_dir():
        parser.error(f"{data}: no folder gz2/ there; set GALMORPH_DATA")
    maker = Maker(data, options.model, options.checkpoint, options.workers)
    steps: list[Callable[[Maker], None]] = (
        [measure] if options.measure_only else [make_heads, measure]
    )
    for step in steps:
        step(maker)
    text = json.dumps(maker.figures, indent=2)
    if options.figures:
        options.figures.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
