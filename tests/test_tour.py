"""The notebook runs from its first cell to its last, on the images beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_the_notebook_runs(tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib", reason="the extra evaluate is not installed")
    pytest.importorskip("sklearn", reason="the extra evaluate is not installed")
    matplotlib.use("agg")
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in cells)
    names = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert len(names["table"]) == 13
    assert names["embeddings"].shape == (13, 512)
    assert np.isfinite(names["embeddings"]).all()
    assert set(names["mine"]["label"]) <= {"face_on", "edge_on"}
    assert Path("classes.ecsv").is_file()
