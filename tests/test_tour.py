"""The notebook runs from its first cell to its last, on the images beside it."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
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
        if cell["cell_type"] == "code" and (cell["id"] != "explore" or find_spec("panel")):
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert len(names["table"]) == 13
    assert names["embeddings"].shape == (13, 512)
    assert np.isfinite(names["embeddings"]).all()
    assert set(names["mine"]["label"]) <= {"face_on", "edge_on"}
    assert Path("classes.ecsv").is_file()
    assert "13 of 13 cutouts" in Path("report.html").read_text(encoding="utf-8")
    assert list(names["near"]["rank"]) == [1, 2, 3]
    assert "spiral_2" in names["near"]["object_id"]
