"""The encoder of a GPU on the CPU: stand-ins for pinned memory, events and graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from galmorph.inference import compiled, cuda
from galmorph.inference.compiled import ReadyEncoder, get_ready_encoder
from galmorph.inference.cuda import CudaEncoder
from galmorph.model import Model

CPU = torch.device("cpu")
Pixels = npt.NDArray[np.uint8]


class Event:
    """Counts who waits."""

    waits = 0

    def synchronize(self) -> None:
        Event.waits += 1


class Graph:
    """Computes between two fixed tensors, as a CUDA graph does."""

    recorded: list[tuple[int, torch.dtype]] = []
    replays = 0

    def __init__(self, compute: Callable[[Tensor], Tensor], pixels: Tensor) -> None:
        self.compute, self.pixels = compute, pixels
        self.result = compute(pixels).clone()
        Graph.recorded.append((len(pixels), pixels.dtype))

    def replay(self) -> None:
        Graph.replays += 1
        self.result.copy_(self.compute(self.pixels))


def record(compute: Callable[[Tensor], Tensor], pixels: Tensor) -> tuple[Graph, Tensor]:
    graph = Graph(compute, pixels)
    return graph, graph.result


@pytest.fixture
def encoder(model: Model, monkeypatch: pytest.MonkeyPatch) -> CudaEncoder:
    def allocate(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype)

    monkeypatch.setattr(cuda, "_allocate_pinned", allocate)
    monkeypatch.setattr(cuda, "_record_event", lambda _: Event())
    monkeypatch.setattr(cuda, "_record_graph", record)
    monkeypatch.setattr(Graph, "recorded", [])
    monkeypatch.setattr(Graph, "replays", 0)
    monkeypatch.setattr(Event, "waits", 0)
    return CudaEncoder(model.encoder, model.preprocessing, CPU, "float32")


@pytest.fixture
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (24, 3, 84, 84), dtype=np.uint8)


def encode_simply(model: Model, pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return ReadyEncoder(model.encoder, model.preprocessing, CPU, "float32").encode(pixels)


def test_a_gpu_gets_this_encoder(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.device] = []

    class Spy(CudaEncoder):
        def __init__(self, encoder: object, steps: object, device: torch.device, kind: str) -> None:
            made.append(device)

    monkeypatch.setattr(cuda, "CudaEncoder", Spy)
    monkeypatch.setattr(compiled, "_ready", {})
    gpu = torch.device("cuda", 1)
    assert isinstance(get_ready_encoder(model.encoder, model.preprocessing, gpu, "float32"), Spy)
    assert made == [gpu]


def test_batches_of_every_length_give_what_the_cpu_gives(
    model: Model, encoder: CudaEncoder, pixels: Pixels
) -> None:
    expected = encode_simply(model, pixels)
    begin = 0
    for length in (8, 8, 5, 3):  # alone, recorded, padded, too short to be padded
        part = pixels[begin : begin + length]
        found = encoder.start([part], full=8)()
        np.testing.assert_allclose(found, expected[begin : begin + length], atol=1e-5)
        begin += length
    assert Graph.recorded == [(8, torch.uint8)] and Graph.replays == 2


def test_a_later_batch_does_not_overwrite_an_earlier_result(
    model: Model, encoder: CudaEncoder, pixels: Pixels
) -> None:
    waits = [encoder.start([pixels[i : i + 4]], full=4) for i in range(0, 24, 4)]
    assert Event.waits == 0 and Graph.replays == 5
    found = np.concatenate([wait() for wait in reversed(waits)][::-1])
    np.testing.assert_allclose(found, encode_simply(model, pixels), atol=1e-5)
    assert Event.waits == 6


def test_the_parts_of_a_batch_are_joined(
    model: Model, encoder: CudaEncoder, pixels: Pixels
) -> None:
    found = encoder.start([pixels[:3], pixels[3:4], pixels[4:9]])()
    np.testing.assert_allclose(found, encode_simply(model, pixels[:9]), atol=1e-5)
    assert Graph.recorded == []


def test_each_dtype_has_its_own_graph(model: Model, encoder: CudaEncoder, pixels: Pixels) -> None:
    floats = pixels.astype(np.float32) / np.float32(255)
    for batch in (pixels[:4], floats[4:8], pixels[8:12], floats[12:16]):
        found = encoder.start([batch], full=4)()
        np.testing.assert_allclose(found, encode_simply(model, batch), atol=1e-5)
    assert Graph.recorded == [(4, torch.uint8), (4, torch.float32)]


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
def test_without_a_graph_the_work_goes_on(
    model: Model,
    encoder: CudaEncoder,
    pixels: Pixels,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    tries = 0

    def refuse(compute: object, like: Tensor) -> tuple[Graph, Tensor]:
        nonlocal tries
        tries += 1
        raise error("operation not permitted when stream is capturing\nand so on")

    monkeypatch.setattr(cuda, "_record_graph", refuse)
    found = [encoder.start([pixels[i : i + 4]], full=4)() for i in range(0, 24, 4)]
    np.testing.assert_allclose(np.concatenate(found), encode_simply(model, pixels), atol=1e-5)
    assert tries == 1
    said = "no CUDA graph (operation not permitted when stream is capturing); memory was enough"
    assert encoder.explain().startswith(said)


def test_memory_that_runs_out_halves_batches_and_graphs(
    model: Model, encoder: CudaEncoder, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert encoder.explain() == "no CUDA graph yet; memory was enough for every batch"
    encoder.start([pixels[:8]], full=8)()
    encoder.start([pixels[:8]], full=8)()
    assert encoder.explain() == "CUDA graph in use; memory was enough for every batch"
    forward = encoder.module.forward

    def refuse(x: Tensor) -> Tensor:
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x)  # type: ignore[no-any-return]

    monkeypatch.setattr(encoder.module, "forward", refuse)
    found = [encoder.start([pixels[i : i + 8]], full=8)() for i in range(0, 24, 8)]
    np.testing.assert_allclose(np.concatenate(found), encode_simply(model, pixels), atol=1e-5)
    assert encoder.limit == 4
    assert encoder.explain().endswith("; batches of 4, because its memory is too small for more")
    assert Graph.recorded == [(8, torch.uint8), (4, torch.uint8)]
