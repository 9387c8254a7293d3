"""The encoder made ready: folding, precision, memory that runs out."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from inference_model import make_model
from torch import nn

from galmorph.encoders.cnn import ConvNorm
from galmorph.inference.devices import PRECISIONS, Precision
from galmorph.inference.ready import ReadyEncoder, fold_batch_norm, get_ready_encoder
from galmorph.model import Model, write_model

CPU = torch.device("cpu")
Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (5, 3, 84, 84), dtype=np.uint8)


def make_ready(model: Model, precision: Precision = "float32") -> ReadyEncoder:
    return ReadyEncoder(model.encoder, model.preprocessing, CPU, precision)


def encode_naively(model: Model, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Divide, subtract, divide, encode: nothing folded, nothing reordered."""
    x = pixels.astype(np.float64) / 255
    mean = np.array(model.preprocessing.mean).reshape(3, 1, 1)
    std = np.array(model.preprocessing.std).reshape(3, 1, 1)
    normalized = torch.from_numpy(((x - mean) / std).astype(np.float32))
    with torch.inference_mode():
        result: npt.NDArray[np.float32] = model.encoder(normalized).numpy()
    return result


@pytest.mark.parametrize("architecture", ["fused_fast", "wei2022"])
def test_float32_equals_the_naive_way(architecture: str, pixels: Pixels) -> None:
    model = make_model(architecture)
    expected = encode_naively(model, pixels)
    found = make_ready(model).encode(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_float_pixels_are_taken_as_they_are(model: Model, pixels: Pixels) -> None:
    ready = make_ready(model)
    floats = pixels.astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(ready.encode(floats), ready.encode(pixels), atol=1e-5)


@pytest.mark.parametrize(("precision", "bound"), [("bfloat16", 0.03), ("float16", 0.005)])
def test_half_precision_is_close(
    model: Model, pixels: Pixels, precision: Precision, bound: float
) -> None:
    exact = make_ready(model).encode(pixels)
    rounded = make_ready(model, precision).encode(pixels)
    assert rounded.dtype == np.float32
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert 0 < error < bound


@pytest.mark.parametrize("architecture", ["fused_fast", "wei2022"])
def test_folding_removes_every_batch_norm_and_changes_nothing(architecture: str) -> None:
    encoder = make_model(architecture).encoder
    before = copy.deepcopy(encoder.state_dict())
    folded = fold_batch_norm(encoder)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in encoder.modules())
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    x = torch.randn(3, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), encoder(x), rtol=1e-4, atol=1e-5)


def test_folding_by_the_formula() -> None:
    """w' = w gamma / sqrt(var + eps), b' = beta - mean gamma / sqrt(var + eps)."""
    layer = ConvNorm(2, 3, 3).eval()
    norm = layer.norm
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
        norm.running_var.copy_(torch.tensor([0.25, 4.0, 9.0]))
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = fold_batch_norm(nn.Sequential(layer))[0].conv
    torch.testing.assert_close(folded.weight, layer.conv.weight * scale[:, None, None, None])
    torch.testing.assert_close(folded.bias, norm.bias - norm.running_mean * scale)


def _run_out_of_memory_above(
    limit: int, ready: ReadyEncoder, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Let batches of more than ``limit`` fail as a full GPU would; sizes that were tried."""
    tried: list[int] = []
    forward = ready.module.forward

    def refuse(x: torch.Tensor) -> torch.Tensor:
        tried.append(len(x))
        if len(x) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x)  # type: ignore[no-any-return]

    monkeypatch.setattr(ready.module, "forward", refuse)
    return tried


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_batches_are_halved_until_they_fit(
    model: Model, pixels: Pixels, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_ready(model).encode(pixels)
    ready = make_ready(model)
    tried = _run_out_of_memory_above(limit, ready, monkeypatch)
    np.testing.assert_allclose(ready.encode(pixels), expected, atol=1e-5)
    assert sum(size for size in tried if size <= limit) == len(pixels)


def test_a_single_cutout_that_does_not_fit_is_an_error(
    model: Model, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = make_ready(model)
    tried = _run_out_of_memory_above(0, ready, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        ready.encode(pixels)
    assert tried == [5, 2, 1]


def test_ready_forms_are_made_once_and_go_with_their_encoder() -> None:
    from galmorph.inference import ready

    model = make_model(seed=2)
    made = [get_ready_encoder(model.encoder, model.preprocessing, CPU, p) for p in PRECISIONS]
    again = [get_ready_encoder(model.encoder, model.preprocessing, CPU, p) for p in PRECISIONS]
    assert all(a is b for a, b in zip(made, again, strict=True))
    assert len({id(one) for one in made}) == len(PRECISIONS)
    kept = len(ready._ready)
    del model, made, again
    assert len(ready._ready) == kept - 1


@pytest.mark.parametrize("kind", ["parameter", "buffer"])
def test_changed_weights_are_made_ready_again(pixels: Pixels, kind: str) -> None:
    model = make_model(seed=3)
    settings = (model.encoder, model.preprocessing, CPU, "float32")
    before = get_ready_encoder(*settings).encode(pixels)
    own = model.encoder.parameters() if kind == "parameter" else model.encoder.buffers()
    with torch.no_grad():
        for tensor in own:
            tensor.mul_(2)  # in place: the tensors themselves stay where they are
    changed = get_ready_encoder(*settings)
    after = changed.encode(pixels)
    assert not np.allclose(after, before, rtol=0.01)
    np.testing.assert_array_equal(after, make_ready(model).encode(pixels))
    assert get_ready_encoder(*settings) is changed


FORKED = """
import os, sys
import numpy as np, torch
import galmorph
torch.set_num_threads(2)
model = galmorph.load_model(sys.argv[1])
image = np.random.default_rng(0).integers(0, 256, (3, 100, 100), dtype=np.uint8)
child = os.fork()
if child == 0:
    vectors = galmorph.embed(image, model=model, device="cpu")
    os._exit(0 if np.isfinite(vectors).all() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_does_not_wait_for_threads_that_it_has_not(tmp_path: Path) -> None:
    write_model(tmp_path / "m.safetensors", make_model())
    command = [sys.executable, "-c", FORKED, str(tmp_path / "m.safetensors")]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "OMP_NUM_THREADS": "2"})
