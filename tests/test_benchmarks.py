"""The benchmark that needs hardware which is rarely there must not rot meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_gpu_benchmark_can_be_rehearsed_on_the_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/bench_gpu.py", "--device", "cpu", "--images", "4"]
    command += ["--runs", "1", "--batches", "2", "--sides", "64", "--data", str(tmp_path)]
    done = subprocess.run(
        [*command, "--architectures", "fused_fast"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    for said in ("matrix rate", "batch 2, from host to host", "of the limit", "4 files to a FITS"):
        assert said in done.stdout, done.stdout
    assert "NOT FINITE" not in done.stdout
