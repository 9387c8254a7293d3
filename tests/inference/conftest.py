"""Cutouts on disk of which some are of no use, and a model to embed them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_model import make_model
from PIL import Image
from synthetic import make_rgb

from galmorph.images.memory import InMemory
from galmorph.images.source import Source
from galmorph.model import Model


@pytest.fixture(scope="session")
def model() -> Model:
    return make_model()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Few cores are often shared; the count is put back, whatever a test does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def mixed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen files: every fifth damaged (from 1 on), every fifth black (from 3 on)."""
    folder = tmp_path_factory.mktemp("mixed")
    for i in range(15):
        path = folder / f"galaxy_{i:02d}.jpg"
        pixels = make_rgb(168, seed=i)
        if i % 5 == 3:
            pixels = np.zeros_like(pixels)
        Image.fromarray(pixels).save(path, quality=92)
        if i % 5 == 1:
            path.write_bytes(path.read_bytes()[:300])
    return folder


@pytest.fixture
def make_sources() -> Callable[..., list[Source]]:
    """Sources of galaxies in memory, each one different."""

    def make(count: int) -> list[Source]:
        arrays = (make_rgb(100, seed=i) for i in range(count))
        return [InMemory(f"g{i}", array) for i, array in enumerate(arrays)]

    return make
