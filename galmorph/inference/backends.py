"""What turns prepared pixels into embeddings: torch on any device, or onnxruntime without torch.

Nothing here imports torch before a torch model is to be run.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from galmorph.encoders.onnx_encoder import OnnxEncoder, import_onnxruntime
from galmorph.errors import DeviceError
from galmorph.model import Model
from galmorph.quantities import Array
from galmorph.settings import BackendName


@dataclass(frozen=True)
class Backend:
    """A model made ready to run: what encodes (n, 3, y, x) in any thread, where, how precisely.

    Every thread that reads or encodes calls `start_worker` first; a run takes place within `guard`.
    """

    encode: Callable[[Array], Array]
    device: str
    precision: str
    start_worker: Callable[[], None] = lambda: None
    guard: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)


def check_backend(
    name: BackendName, *, device: str = "auto", precision: str | None = None
) -> tuple[str, str]:
    """Device and precision of a run, before a model is loaded; raises where they are not there."""
    if name == "onnx":
        import_onnxruntime()
        if device not in ("auto", "cpu"):
            raise DeviceError(f"--backend onnx computes on the cpu, not on {device!r}")
        if precision not in (None, "auto", "float32"):
            raise ValueError(f"--backend onnx computes in float32, not in {precision!r}")
        return "cpu", "float32"
    from galmorph.inference.devices import choose_device, choose_precision

    chosen = choose_device(device)
    return str(chosen), choose_precision(precision, chosen)


def list_versions(name: BackendName) -> Mapping[str, str]:
    """Version of the library that computes, for provenance."""
    if name == "onnx":
        return {"onnxruntime": str(import_onnxruntime().__version__)}
    import torch

    return {"torch": str(torch.__version__)}


def open_backend(model: Model, *, device: str = "auto", precision: str | None = None) -> Backend:
    """Make a model ready to run; repeated calls cost nothing. Raises as `check_backend`."""
    device, precision = check_backend(model.backend, device=device, precision=precision)
    if isinstance(model.encoder, OnnxEncoder):
        return Backend(model.encoder.encode, device, precision)
    from galmorph.inference import ready

    encoder = ready.get_ready_encoder(model.encoder, model.preprocessing, device, precision)
    workers = ready.use_one_compute_thread, ready.keep_compute_threads
    return Backend(encoder.encode, device, precision, *workers)
