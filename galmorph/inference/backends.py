"""What turns prepared pixels into embeddings: torch on any device, or onnxruntime without torch.

Nothing here imports torch before a torch model is to be run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from galmorph.encoders.onnx_encoder import OnnxEncoder, import_onnxruntime
from galmorph.errors import DeviceError
from galmorph.model import BackendName, Model

__all__ = ["Backend", "Lane", "check_backend", "open_backend"]


def _do_nothing() -> None:
    pass


class Lane(Protocol):
    """A device beside the CPU, with its own copy of the encoder; used by one thread of a run."""

    name: str

    def start(
        self, parts: Sequence[npt.NDArray[Any]], *, full: int | None = None
    ) -> Callable[[], npt.NDArray[np.float32]]:
        """As `galmorph.inference.compiled.ReadyEncoder.start`."""

    def explain(self) -> str:
        """What has become of its memory and its speed-ups so far."""


@dataclass(frozen=True)
class Backend:
    """A model made ready to run.

    Attributes
    ----------
    encode : callable
        (n, 3, img_size, img_size) uint8, or float32 on [0, 1], to (n, num_features) float32;
        may be called from several threads at once.
    device, precision : str
        Where, and in which precision, it computes; several devices with commas between them.
    lanes : tuple of Lane
        Devices that encode while the workers read; none where the workers encode as well, on the
        CPU.
    start_worker : callable
        To be called first in every thread that reads.
    guard : callable
        Gives a context in which a run takes place.
    """

    encode: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]
    device: str
    precision: str
    lanes: tuple[Lane, ...] = ()
    start_worker: Callable[[], None] = _do_nothing
    guard: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)


def _check_onnx(device: str, precision: str | None) -> tuple[str, str]:
    import_onnxruntime()
    if device not in ("auto", "cpu"):
        raise DeviceError(f"--backend onnx computes on the cpu, not on {device!r}")
    if precision not in (None, "auto", "float32"):
        raise ValueError(f"--backend onnx computes in float32, not in {precision!r}")
    return "cpu", "float32"


def check_backend(
    name: BackendName, *, device: str = "auto", precision: str | None = None
) -> tuple[str, str]:
    """Settle the device and the precision, before a model is loaded.

    Parameters
    ----------
    name : {"torch", "onnx"}
        As in `galmorph.load_model`.
    device, precision : str
        As in `galmorph.inference.engine.EngineOptions`.

    Returns
    -------
    device, precision : str
        Those that a run will use.

    Raises
    ------
    DeviceError
        The device is not there.
    ValueError
        The precision is not there.
    MissingExtraError
        onnxruntime is wanted and not installed.
    """
    if name == "onnx":
        return _check_onnx(device, precision)
    from galmorph.inference.devices import choose_devices, choose_shared_precision

    chosen = choose_devices(device)
    return ",".join(map(str, chosen)), choose_shared_precision(precision, chosen)


def list_versions(name: BackendName) -> Mapping[str, str]:
    """Version of the library that computes, for provenance."""
    if name == "onnx":
        return {"onnxruntime": str(import_onnxruntime().__version__)}
    import torch

    return {"torch": str(torch.__version__)}


def open_backend(model: Model, *, device: str = "auto", precision: str | None = None) -> Backend:
    """Make a model ready to run; repeated calls cost nothing.

    Parameters
    ----------
    model : Model
        Its encoder decides between torch and onnxruntime.
    device, precision : str
        As in `galmorph.inference.engine.EngineOptions`.

    Returns
    -------
    Backend

    Raises
    ------
    DeviceError, ValueError, MissingExtraError
        See `check_backend`.
    """
    if isinstance(model.encoder, OnnxEncoder):
        return Backend(model.encoder.encode, *_check_onnx(device, precision))
    from galmorph.inference import compiled
    from galmorph.inference.devices import choose_devices, choose_shared_precision

    chosen = choose_devices(device)
    kind = choose_shared_precision(precision, chosen)
    ready = [
        compiled.get_ready_encoder(model.encoder, model.preprocessing, place, kind)
        for place in chosen
    ]
    return Backend(
        ready[0].encode,
        ",".join(map(str, chosen)),
        kind,
        lanes=() if chosen[0].type == "cpu" else tuple(ready),
        start_worker=compiled.use_one_compute_thread,
        guard=compiled.keep_compute_threads,
    )
