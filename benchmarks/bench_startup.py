"""Start-up: one small image classified by a fresh process, with torch and with onnxruntime.

python benchmarks/bench_startup.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, find_files, make_model, make_parser, print_machine, print_rows


def time_command(command: list[str], runs: int) -> tuple[float, float, float]:
    """Median, least and most seconds of a command, after one that is not counted."""
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        seconds.append(time.perf_counter() - began)
    counted = seconds[1:]
    return statistics.median(counted), min(counted), max(counted)


def main() -> None:
    """Time the commands."""
    options = make_parser(__doc__, images=1).parse_args()
    print_machine()
    from galmorph.model import write_model

    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "model.safetensors"
        write_model(weights, make_model("fused_fast"), half=True)
        image = find_files(options.data, 1, Path(name))[0]
        python = [sys.executable, "-c"]
        classify = [sys.executable, "-m", "galmorph", "classify", str(image), "-q"]
        classify += ["--model", str(weights)]
        commands = {
            "python alone": [*python, "pass"],
            "import torch": [*python, "import torch"],
            "import galmorph": [*python, "import galmorph"],
            "galmorph --help": [sys.executable, "-m", "galmorph", "--help"],
            "galmorph classify one.jpg": classify,
            "galmorph classify one.jpg --backend onnx": [*classify, "--backend", "onnx"],
        }
        rows = []
        for label, command in commands.items():
            median, low, high = time_command(command, options.runs)
            rows.append((label, f"{median:.2f} s", f"({low:.2f} to {high:.2f})"))
    print_rows(f"whole processes, median of {options.runs} runs", rows)


if __name__ == "__main__":
    main()
