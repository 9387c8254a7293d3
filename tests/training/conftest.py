"""Simulated labelled cutouts and a tiny recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from inference_model import make_model
from two_classes import draw_galaxy, write_galaxies

from galmorph.encoders import registry
from galmorph.model import write_model
from galmorph.training.data import TrainingSet
from galmorph.training.recipe import Recipe
from tests.training.commands import call
from tests.training.tiny import TinyEncoder


@pytest.fixture(scope="session")
def galaxies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders train/ and test/, each with 20 and 8 cutouts of two classes."""
    top = tmp_path_factory.mktemp("galaxies")
    for number, kind in enumerate(("round", "edge_on")):
        write_galaxies(top / "train", kind, range(100 * number, 100 * number + 20))
        write_galaxies(top / "test", kind, range(100 * number + 50, 100 * number + 58))
    return top


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    write_model(path, make_model(), half=True)
    return path


@pytest.fixture(scope="session")
def head_file(model_file: Path, galaxies: Path) -> Path:
    path = model_file.parent / "mine.safetensors"
    torch.set_num_threads(1)  # as in every test: among equal penalties rounding decides
    result = call(
        "fit",
        "folders",
        galaxies / "train",
        "-o",
        path,
        "--model",
        model_file,
        "--crop",
        0.9,
        "--workers",
        1,
        "-q",
    )
    assert "40 cutouts (edge_on 20, round 20)" in result.output
    return path


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Three steps of four cutouts per epoch, two epochs, of a tiny encoder."""
    monkeypatch.setitem(registry._ENCODERS, "tiny", TinyEncoder)
    return Recipe(architecture="tiny", batch_size=4, epochs=2, frame_size=24, sup_con_weight=0.5)


@pytest.fixture
def training_set() -> TrainingSet:
    """Twelve small cutouts of two classes."""
    kinds = ["round", "edge_on"] * 6
    images = np.stack([draw_galaxy(kind, i, 24).transpose(2, 0, 1) for i, kind in enumerate(kinds)])
    names = tuple(f"{kind}/{i}.png" for i, kind in enumerate(kinds))
    labels = np.array([1, 0] * 6)
    return TrainingSet(images, labels, np.zeros(12, dtype=int), (("edge_on", "round"),), names, ())


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
