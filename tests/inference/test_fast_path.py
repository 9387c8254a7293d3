"""The fast path against a naive reference, on real galaxies, row by row.

The reference does one thing after the other in float32: whole JPEG, central crop, bilinear
resize, normalization, the encoder as it was trained, softmax. No speed-up may move its labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import galmorph
from galmorph import pipeline as _api
from galmorph.errors import GalmorphError
from galmorph.heads import LinearHead
from galmorph.images.discover import discover_sources
from galmorph.inference.devices import cpu_has_bfloat16
from galmorph.model import Model
from galmorph.preprocessing.pipeline import Preprocessing

Array = npt.NDArray[np.float32]

pytestmark = pytest.mark.realdata

HEAD = "gz2_clean"
STEP = 4  # every fourth image of gz2/test: 727 of 2,908
MAX_CHANGED_BFLOAT16 = 0.002
MAX_CHANGED_REDUCED = 0.002
NEAR_TIE = 0.02  # difference of the two largest probabilities


@dataclass
class Run:
    """Probabilities of every file, (n, num_classes)."""

    probabilities: Array

    @property
    def labels(self) -> npt.NDArray[np.intp]:
        return self.probabilities.argmax(axis=1)

    def changed(self, other: Run) -> float:
        return float((self.labels != other.labels).mean())

    def largest_change(self, other: Run) -> float:
        return float(np.abs(self.probabilities - other.probabilities).max())


@pytest.fixture(scope="module")
def trained() -> Model:
    try:
        model = _api.load_model()
    except GalmorphError as error:
        pytest.skip(f"no trained weights here ({error})")
    if HEAD not in model.heads:
        pytest.skip(f"the default model {model.name} has no head {HEAD}")
    return model


@pytest.fixture(scope="module")
def files(realdata: Path) -> list[Path]:
    return sorted((realdata / "gz2" / "test").rglob("*.jpg"))[::STEP]


def prepare_naively(path: Path, model: Model) -> Array:
    """Central square of the decoded image, resized and normalized, (3, y, x)."""
    image = Image.open(path).convert("RGB")
    side = round(min(image.size) * model.preprocessing.crop)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    size = (model.preprocessing.img_size,) * 2
    field = image.crop((left, top, left + side, top + side))
    pixels = np.asarray(field.resize(size, Image.Resampling.BILINEAR)).astype(np.float32) / 255
    normalized = (pixels - model.preprocessing.mean) / np.array(model.preprocessing.std)
    return normalized.transpose(2, 0, 1).astype(np.float32)


def compute_naively(embedding: Array, head: LinearHead) -> Array:
    logits = (embedding.astype(np.float64) @ head.weight.T + head.bias) / head.temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)


@pytest.fixture(scope="module")
def reference(trained: Model, files: list[Path]) -> Run:
    embeddings = []
    with torch.inference_mode():
        for start in range(0, len(files), 64):
            batch = [prepare_naively(path, trained) for path in files[start : start + 64]]
            embeddings.append(trained.encoder(torch.from_numpy(np.stack(batch))).numpy())
    return Run(compute_naively(np.concatenate(embeddings), trained.heads[HEAD]))


def classify(model: Model, files: list[Path], **given: object) -> Run:
    table = galmorph.classify(
        files, model=model, head=HEAD, device="cpu", on_error="raise", **given
    )
    assert list(table["object_id"]) == [path.stem for path in files]
    names = model.heads[HEAD].class_names
    return Run(np.stack([np.asarray(table[f"p_{name}"]) for name in names], axis=1))


@pytest.fixture(scope="module")
def exact(trained: Model, files: list[Path]) -> Run:
    return classify(trained, files, precision="float32")


def test_float32_is_the_reference(reference: Run, exact: Run) -> None:
    assert exact.changed(reference) == 0
    assert exact.largest_change(reference) < 1e-4


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this processor has no bfloat16 products")
def test_bfloat16_keeps_the_labels(trained: Model, files: list[Path], exact: Run) -> None:
    rounded = classify(trained, files, precision="bfloat16")
    assert 0 < rounded.largest_change(exact) < 0.1
    assert rounded.changed(exact) < MAX_CHANGED_BFLOAT16


def test_onnxruntime_keeps_the_probabilities(
    trained: Model, files: list[Path], reference: Run
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    light = _api.load_model(backend="onnx")
    found = classify(light, files[::4])
    expected = Run(reference.probabilities[::4])
    assert found.changed(expected) == 0
    assert found.largest_change(expected) < 1e-4


def test_reduced_decoding_keeps_the_labels(
    trained: Model, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On files with five times the pixels along each side: smaller ones are never reduced."""
    large = []
    for path in files:  # all of them: fewer cannot tell 0.2 % from none
        image = Image.open(path)
        large.append(tmp_path / path.name)
        size = (5 * image.width, 5 * image.height)
        image.resize(size, Image.Resampling.LANCZOS).save(large[-1], quality=95)
    known: dict[str, Any] = {"precision": "float32", "crop": trained.preprocessing.crop}
    reduced = classify(trained, large, **known)  # what is measured is decoded whole
    monkeypatch.setattr(Preprocessing, "min_side", lambda self, options: None)
    whole = classify(trained, large, **known)
    assert 0 < reduced.largest_change(whole) < 0.1  # so it was in fact reduced
    assert reduced.changed(whole) <= MAX_CHANGED_REDUCED
    assert float(np.abs(reduced.probabilities - whole.probabilities).mean()) < 0.001
    best = np.sort(whole.probabilities, axis=1)
    clear = best[:, -1] - best[:, -2] > NEAR_TIE
    assert (reduced.labels == whole.labels)[clear].all()
    assert (~clear).mean() < 0.05


def test_a_usual_file_is_never_decoded_at_a_reduced_size(trained: Model, files: list[Path]) -> None:
    pipeline = _api.Pipeline(replace(trained, typicality=None), trained.heads[HEAD])
    rows = [row for block in pipeline.run(discover_sources(files[:8])) for row in block.rows]
    assert len(rows) == 8 and not any("reduced" in row.notes for row in rows)
