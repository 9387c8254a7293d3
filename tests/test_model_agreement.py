"""What benchmarks/eval_agreement.py prints of several models."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_files_of_one_name_are_different_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs of galmorph pretrain both end with a model.safetensors."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import eval_agreement as bench

    for kind in ("edge_on", "round"):
        (tmp_path / "sdss" / "test" / kind).mkdir(parents=True)
        (tmp_path / "sdss" / "test" / kind / "0.jpg").touch()
    names = ["RUN1/model.safetensors", "RUN2/model.safetensors"]
    found = dict(zip(names, (np.eye(2), np.array([[1.0, 0], [1, 0]])), strict=True))
    head = SimpleNamespace(class_names=("edge_on", "round"))
    monkeypatch.setenv("GALMORPH_DATA", str(tmp_path))
    monkeypatch.setattr(bench, "load_model", lambda _: SimpleNamespace(get_head=lambda _: head))
    monkeypatch.setattr(bench, "compute_probabilities", lambda _, name, head: found[name])
    monkeypatch.setattr(sys, "argv", ["eval_agreement.py", *(f"--model={n}" for n in names)])
    bench.main()
    rows = capsys.readouterr().out.splitlines()
    assert "| RUN1/model.safetensors | 2 | 1.0000 |" in rows
    assert "| RUN2/model.safetensors | 2 | 0.5000 |" in rows
    assert "| all of them agree | 1 | 1.0000 |" in rows
