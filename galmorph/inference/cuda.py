"""An encoder on an NVIDIA GPU: pinned memory, copies in the background, batches as CUDA graphs.

A graph replays a whole batch in one call. Launching an encoder's hundred kernels one by one would
take the interpreter's lock a hundred times, in competition with the threads that bring the images.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from galmorph.inference.compiled import ReadyEncoder, Wait

__all__ = ["BatchReplay", "CudaEncoder"]

logger = logging.getLogger(__name__)

WARM_UP_RUNS = 2
"""Runs before the recording, in which libraries choose kernels and allocate their work space."""

_capture_lock = threading.Lock()

Compute = Callable[[Tensor], Tensor]


class Replay(Protocol):
    """A computation between two fixed tensors."""

    def replay(self) -> None:
        """Compute again from what the input tensor now holds."""


def _record_graph(compute: Compute, pixels: Tensor) -> tuple[Replay, Tensor]:
    """Record a computation on the tensor's CUDA device.

    Parameters
    ----------
    compute : callable
        Tensor to tensor, with no look at the values on the way.
    pixels : Tensor
        On the device. Later runs read this memory.

    Returns
    -------
    graph : Replay
    result : Tensor
        Memory that every run overwrites.
    """
    stream = torch.cuda.Stream(pixels.device)  # type: ignore[no-untyped-call]
    with _capture_lock, torch.cuda.device(pixels.device):
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                compute(pixels)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate on other devices meanwhile; only this one must not.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = compute(pixels)
    return graph, result


class BatchReplay:
    """Recorded encoding of batches of up to ``size`` cutouts; shorter ones are padded.

    Parameters
    ----------
    compute : callable
        Pixels on the device to embeddings.
    size : int
        Cutouts in a full batch.
    like : Tensor
        Pixels whose shape (but for the first axis) and dtype all batches have.
    device : torch.device
    """

    def __init__(self, compute: Compute, size: int, like: Tensor, device: torch.device) -> None:
        self._pixels = torch.zeros((size, *like.shape[1:]), dtype=like.dtype, device=device)
        self._graph, self._embeddings = _record_graph(compute, self._pixels)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed; the next call overwrites the result, in the order of the stream."""
        count = len(pixels)
        self._pixels[:count].copy_(pixels, non_blocking=True)
        self._graph.replay()
        return self._embeddings[:count]


def _allocate_pinned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)


def _record_event(device: torch.device) -> Any:
    return torch.cuda.current_stream(device).record_event()


@dataclass(slots=True)
class _Queued:
    """A batch under way on the device; the host memory that it uses is held until the end."""

    pixels: Tensor
    embeddings: Tensor
    done: Any

    def __call__(self) -> npt.NDArray[np.float32]:
        self.done.synchronize()
        result: npt.NDArray[np.float32] = self.embeddings.numpy()
        return result


class CudaEncoder(ReadyEncoder):
    """A `ReadyEncoder` that only queues its work; whoever wants the embeddings waits."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._no_graph = ""
        self._seen: set[tuple[int, torch.dtype]] = set()
        self._replays: dict[tuple[int, torch.dtype], BatchReplay] = {}
        self._lock = threading.Lock()

    def explain(self) -> str:
        """What has become of its memory and its speed-ups so far."""
        if self._no_graph:
            graphs = f"no CUDA graph ({self._no_graph})"
        else:
            graphs = "CUDA graph in use" if self._replays else "no CUDA graph yet"
        return f"{graphs}; {super().explain()}"

    def _stage(self, parts: Sequence[npt.NDArray[Any]]) -> Tensor:
        like = torch.from_numpy(parts[0])
        staged = _allocate_pinned((sum(map(len, parts)), *like.shape[1:]), like.dtype)
        np.concatenate(parts, out=staged.numpy())
        return staged

    def _shrink(self, limit: int) -> None:
        self._seen.clear()
        self._replays.clear()
        super()._shrink(limit)

    def _start_part(self, pixels: Tensor, full: int | None) -> Wait:
        with self._lock:  # two runs at once must not mix their steps in the device's stream
            on_device = self._embed(pixels, full)
            embeddings = _allocate_pinned(on_device.shape, on_device.dtype)
            embeddings.copy_(on_device, non_blocking=True)
            return _Queued(pixels, embeddings, _record_event(self.device))

    def _embed(self, pixels: Tensor, full: int | None) -> Tensor:
        if full is not None and not self._no_graph and full // 2 < len(pixels) <= full:
            replay = self._get_replay(pixels, full)
            if replay is not None:
                return replay(pixels)
        return self.compute(pixels)

    def _get_replay(self, pixels: Tensor, full: int) -> BatchReplay | None:
        key = (full, pixels.dtype)
        if key in self._replays or key not in self._seen:  # one batch alone is not worth it
            self._seen.add(key)
            return self._replays.get(key)
        try:
            self._replays[key] = BatchReplay(self.compute, full, pixels, self.device)
        except RuntimeError as error:
            self._no_graph = str(error).partition("\n")[0] or type(error).__name__
            logger.warning("%s: no CUDA graph: %s", self.name, error)
        return self._replays.get(key)
