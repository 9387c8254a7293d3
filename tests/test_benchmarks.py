"""Benchmarks that need what is rarely there, a GPU or a rival, must not rot meanwhile."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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


def test_the_comparison_with_zoobot_can_run_its_own_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("bench_zoobot")
    files = bench.find_files(tmp_path, 2, tmp_path)
    catalogue = bench.write_catalogue(tmp_path / "whole.csv", files)
    bench.make_galmorph([sys.executable, "-m", "galmorph"], tmp_path)(catalogue)
    rows = (tmp_path / "galmorph.csv").read_text().splitlines()
    assert sum(row.startswith("galaxy_") for row in rows) == 2, rows


def test_few_labels_are_drawn_with_one_of_each_class_and_measured_on_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("eval_few_labels")
    labels = np.array(["a"] * 90 + ["b"] * 6 + ["c"] * 4)
    for learn in (None, np.arange(100) % 2 == 0):
        task = bench.Task("t", np.zeros((100, 2)), labels, learn)
        for seed in range(20):
            rows, test = task.split(10, np.random.default_rng(seed))
            assert len(set(rows)) == 10 and set(labels[rows]) == {"a", "b", "c"}
            assert not set(rows) & set(test)
            assert learn is None or (learn[rows].all() and not learn[test].any())
        assert len(task.split(task.largest, np.random.default_rng(0))[0]) == task.largest


@pytest.mark.parametrize("folder", ["benchmarks", "tools"])
def test_what_scripts_import_of_galmorph_is_there(folder: str) -> None:
    wanted = {
        (node.module, name.name)
        for path in (ROOT / folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("galmorph")
        for name in node.names
    }
    assert len(wanted) > 5
    for module, name in wanted:
        found = importlib.import_module(str(module))
        assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), (module, name)


def test_the_account_of_attacks_keeps_what_was_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    attack = importlib.import_module("attack")
    top = "# T\n\n## Small files that unpack to gigabytes\n\n"
    short = "| attack | tries | what happened |\n|---|---|---|\n| a | 9 | old |\n"
    page = tmp_path / "page.md"
    page.write_text(f"{top}{short}| b | 9 | old |\n\n## Other\n")
    monkeypatch.setattr(attack, "PAGE", page)

    def write(names: str, said: str, long: bool) -> None:
        lines = [(name, 1000, said, False) for name in names]
        attack.write_section("bombs", lines, [90.0] * len(names), long, whole=False)

    write("ac", "BROKEN a|b\n", long=True)
    write("b", "new", long=False)
    write("c", "mended", long=True)
    long = "| attack with `--long` | tries | what happened | it took |\n|---|---|---|---|\n"
    long += "| a | 1,000 | BROKEN a/b | 1.5 min |\n| c | 1,000 | mended | 1.5 min |\n"
    assert page.read_text() == f"{top}{short}| b | 1,000 | new |\n\n{long}\n## Other\n"
