"""The same embeddings to the last bit: in threads, processes, with any number of workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from everywhere import USES, compare, write_files
from inference_model import make_model

from galmorph.model import Model

TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def model() -> Model:
    return make_model()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("name", USES)
def test_a_model_gives_the_same_wherever_it_is_used(
    model: Model, files: list[str], name: str
) -> None:
    made, others = compare(USES[name], model, files, 0)
    assert made and not others


@pytest.mark.parametrize(("batch_size", "precision"), [(1, "float32"), (3, "auto")])
def test_workers_change_no_bit(
    model: Model, files: list[str], batch_size: int, precision: str
) -> None:
    settings = {"device": "cpu", "batch_size": batch_size, "precision": precision}
    results = [
        model.embed(files * 3, workers=workers, progress=False, **settings) for workers in (1, 2, 4)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_batches_change_the_last_digits_alone(model: Model, files: list[str]) -> None:
    settings = {"device": "cpu", "precision": "float32", "progress": False}
    one, many = (model.embed(files, batch_size=size, **settings) for size in (1, 32))
    np.testing.assert_allclose(one, many, atol=1e-5 * np.abs(many).max())


def test_heads_are_the_same_for_any_number_of_threads() -> None:
    said = []
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        done = subprocess.run(
            [sys.executable, TESTS / "fit_and_print.py"],
            capture_output=True,
            env={**os.environ, **dict.fromkeys(names, threads), "PYTHONPATH": str(TESTS.parent)},
            text=True,
            check=True,
        )
        said.append(done.stdout)
    assert said[0].split() and said[0] == said[1]
