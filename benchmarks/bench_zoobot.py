"""Zoobot with ConvNeXt-Nano and ``galmorph classify`` on the same files, in the same run.

Zoobot needs an environment of its own (``pip install "zoobot[pytorch]==2.9.0"``), and its
interpreter runs this script. galmorph runs as a command with its default model, from another one:

    /path/to/zoobot-env/bin/python benchmarks/bench_zoobot.py --galmorph /path/to/python

What is timed of Zoobot is one call of its ``predict_on_catalog.predict``: images on disk to a CSV
file, with a ``FinetuneableZoobotClassifier`` of five classes around timm's ``convnext_nano`` and
the defaults of its data module (batches of 256, 4 workers, its minimal transform at 224 px). Its
weights are random: nothing is downloaded, and speed does not depend on them. Zoobot's imports are
left out of its rate; galmorph's rate is given with and without its start-up.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from common import ROOT, Timing, find_files, make_parser, print_machine, print_rows

CLASSES = ["round", "in_between", "cigar", "edge_on", "spiral"]
HINT = """Zoobot cannot be imported: {}
Run this script by the interpreter of an environment with zoobot[pytorch]==2.9.0 in it."""


def write_catalogue(path: Path, files: list[Path]) -> Path:
    """Write the table that both programs read, with the columns that Zoobot asks for."""
    with path.open("w", newline="") as file:
        rows = [(f"galaxy_{i}", f.resolve()) for i, f in enumerate(files)]
        csv.writer(file).writerows([("id_str", "file_loc"), *rows])
    return path


def make_zoobot(folder: Path, **loading: int) -> Callable[[Path], Any]:
    """Zoobot's prediction of a catalogue, with its imports and its network made."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import pandas as pd
            import timm
            from galaxy_datasets.transforms import get_galaxy_transform, minimal_view_config
            from zoobot.pytorch.predictions import predict_on_catalog
            from zoobot.pytorch.training.finetune import FinetuneableZoobotClassifier
    except ImportError as error:
        raise SystemExit(HINT.format(error)) from None
    encoder = timm.create_model("convnext_nano", num_classes=0)
    model = FinetuneableZoobotClassifier(num_classes=len(CLASSES), encoder=encoder)
    transform = get_galaxy_transform(minimal_view_config())

    def predict(catalogue: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            predict_on_catalog.predict(
                pd.read_csv(catalogue),
                model,
                save_loc=str(folder / "zoobot.csv"),
                label_cols=CLASSES,
                inference_transform=transform,
                datamodule_kwargs=loading,
                trainer_kwargs={"default_root_dir": str(folder)},
            )

    return predict


def make_galmorph(command: list[str], folder: Path) -> Callable[[Path], Any]:
    """The command's classification of a catalogue, in a process of its own, as a user runs it."""
    columns = ["--path-column", "file_loc", "--id-column", "id_str"]
    words = [*command, "classify", *columns, "-q", "-o", str(folder / "galmorph.csv")]

    def classify(catalogue: Path) -> None:
        (folder / "galmorph.csv").unlink(missing_ok=True)
        subprocess.run([*words, "--catalogue", str(catalogue)], check=True, cwd=ROOT)

    return classify


def time_work(work: Callable[[Path], Any], catalogue: Path) -> float:
    """Seconds that some work takes with a catalogue."""
    began = time.perf_counter()
    work(catalogue)
    return time.perf_counter() - began


def main() -> None:
    """Time both in turns, so that other work on the machine disturbs both alike."""
    parser = make_parser(__doc__, images=1024)
    parser.add_argument("--galmorph", default=shutil.which("galmorph"),
                        help="its command, or an interpreter that has it")  # fmt: skip
    parser.add_argument("--batch", type=int, default=256, help="Zoobot's batch size")
    parser.add_argument("--workers", type=int, default=4, help="Zoobot's DataLoader workers")
    options = parser.parse_args()
    if not options.galmorph:
        parser.error("there is no galmorph to compare with: see --galmorph")
    command = [options.galmorph]
    if Path(options.galmorph).name.startswith("python"):
        command += ["-m", "galmorph"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        zoobot = make_zoobot(folder, batch_size=options.batch, num_workers=options.workers)
        print(f"{time.perf_counter() - began:.1f} s for Zoobot's imports and network, once")
        print_machine()
        names = ("zoobot", "galaxy-datasets", "lightning", "timm")
        print("zoobot    " + ", ".join(f"{name} {version(name)}" for name in names), flush=True)
        subprocess.run([*command, "--version"], check=True, cwd=ROOT)
        galmorph = make_galmorph(command, folder)
        files = find_files(options.data, options.images, folder)
        whole = write_catalogue(folder / "whole.csv", files)
        one = write_catalogue(folder / "one.csv", files[:1])
        galmorph(whole)  # warms the disk's cache for both
        zoobot(write_catalogue(folder / "few.csv", files[:32]))
        rival, ours, starts = [], [], []
        for _ in range(options.runs):
            rival.append(time_work(zoobot, whole))
            ours.append(time_work(galmorph, whole))
            starts.append(time_work(galmorph, one))
    count, start = len(files), median(starts)
    slow, fast = Timing(tuple(rival), count), Timing(tuple(ours), count)
    rows = [
        ("zoobot, predict(), imports not counted", str(slow), ""),
        ("galmorph classify, start-up counted", str(fast), f"{fast.rate / slow.rate:.1f} x"),
    ]
    if min(ours) > start:
        rest = Timing(tuple(seconds - start for seconds in ours), count - 1)
        label = f"galmorph classify, less the {start:.1f} s of one file"
        rows.append((label, str(rest), f"{rest.rate / slow.rate:.1f} x"))
    print_rows(f"{count} files to a CSV file, median of {options.runs} runs, and ratios", rows)


if __name__ == "__main__":
    main()
