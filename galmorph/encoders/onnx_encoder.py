"""galmorph's own encoders in onnxruntime, without torch: graphs from here, weights of a file."""

import threading
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CheckpointError, UnknownModelError
from galmorph.images.library import import_extra
from galmorph.quantities import Array

Arrays = Mapping[str, Array]
TRIAL_S = 4.0  # seconds within which a graph must embed a batch when it is tried out
LARGEST = 1024  # pixels on a side that a graph may take
BATCH_NORM_EPS = 1e-5  # what torch adds to the variance unless told otherwise


def import_onnxruntime() -> Any:
    """Import onnxruntime, or say how to install it."""
    return import_extra("onnxruntime", "onnx", "for --backend onnx")


@cache
def read_graph(architecture: str) -> bytes:
    """The ONNX graph of an architecture of galmorph's own, without weights."""
    file = files("galmorph.encoders") / "graphs" / f"{architecture}.onnx"
    if not file.is_file():
        raise UnknownModelError(
            f"no ONNX graph of architecture {architecture!r}; only galmorph's own encoders have "
            "one: use --backend torch"
        )
    return file.read_bytes()


def _fold_batch_norms(tensors: Arrays) -> dict[str, Array]:
    """Fold each batch normalization into the convolution before it, in float64."""
    folded = dict(tensors)
    for key in tensors:
        prefix, found, _ = key.partition("norm.running_mean")
        if not found:
            continue
        norm = {
            name: np.asarray(folded.pop(f"{prefix}norm.{name}"), dtype=np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        folded.pop(f"{prefix}norm.num_batches_tracked", None)
        scale = norm["weight"] / np.sqrt(norm["running_var"] + BATCH_NORM_EPS)
        weight = np.asarray(folded[f"{prefix}conv.weight"], dtype=np.float64)
        folded[f"{prefix}conv.weight"] = weight * scale[:, None, None, None]
        folded[f"{prefix}conv.bias"] = norm["bias"] - norm["running_mean"] * scale
    return folded


def make_graph_weights(
    tensors: Arrays, *, mean: tuple[float, ...], std: tuple[float, ...]
) -> dict[str, Array]:
    """Weights of a model file as the graphs name them, in float32, batch normalizations folded."""
    encoder = {key: array for key, array in tensors.items() if key.startswith("encoder.")}
    try:
        with np.errstate(all="ignore"):  # a model is tried out before it is used
            weights = _fold_batch_norms(encoder)
    except KeyError as error:
        raise CheckpointError(f"the weights are not complete: {error} is missing") from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"the weights do not fit together ({error})") from error
    weights["pixel_mean"] = np.reshape(mean, (1, 3, 1, 1))
    weights["pixel_std"] = np.reshape(std, (1, 3, 1, 1))
    with np.errstate(over="ignore"):
        return {key: np.ascontiguousarray(a, dtype=np.float32) for key, a in weights.items()}


class OnnxEncoder:
    """Pixels (n, 3, img_size, img_size) on [0, 1] to embeddings, in float32 on the CPU."""

    def __init__(self, graph: bytes, weights: Arrays) -> None:
        self.graph, self.weights = graph, dict(weights)
        self._session = _open_session(graph, self.weights)
        self.img_size, self.num_features = _read_sizes(self._session)

    def __getstate__(self) -> tuple[bytes, dict[str, Any]]:
        return self.graph, self.weights

    def __setstate__(self, state: tuple[bytes, dict[str, Any]]) -> None:
        OnnxEncoder.__init__(self, *state)

    @property
    def metadata(self) -> dict[str, str]:
        """What the file of the graph says of itself, by key."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def encode(self, pixels: Array) -> Array:
        """Embed (n, 3, img_size, img_size), uint8 in [0, 255] or float32 in [0, 1]."""
        if pixels.dtype == np.uint8:
            pixels = pixels.astype(np.float32) / np.float32(255)
        embedding: Array = self._session.run(["embedding"], {"pixels": pixels})[0]
        return embedding

    def try_out(self, pixels: Array) -> Array:
        """Embed like `encode`, by a graph of unknown origin, which may fail or never end."""
        options = import_onnxruntime().RunOptions()
        timer = threading.Timer(TRIAL_S, setattr, (options, "terminate", True))
        timer.start()
        try:
            embedding: Array
            (embedding,) = self._session.run(["embedding"], {"pixels": pixels}, options)
        except Exception as error:  # as in _open_session
            said = str(error).splitlines()[0][:200]
            raise CheckpointError(f"onnxruntime cannot run this model ({said})") from None
        finally:
            timer.cancel()
        return embedding


def _open_session(graph: bytes, weights: Arrays) -> Any:
    """One thread per call: the engine's workers call it side by side."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    values = [runtime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    try:
        # Its second try, with the same provider, prints to standard output.
        return runtime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        said = str(error).splitlines()[0][:200]
        raise CheckpointError(f"onnxruntime cannot use this model ({said})") from error


def _read_sizes(session: Any) -> tuple[int, int]:
    """Side of the input and length of the embedding; any program may have written the graph."""
    inputs = {value.name: value.shape for value in session.get_inputs()}
    outputs = {value.name: value.shape for value in session.get_outputs()}
    match inputs, outputs.get("embedding"):
        case {"pixels": [_, 3, int(height), int(width)]}, [_, int(num_features)] if (
            len(inputs) == 1 and 0 < height == width <= LARGEST and num_features > 0
        ):
            return height, num_features
    raise CheckpointError(
        "not an encoder of galmorph, which makes `embedding` (n, num_features) of `pixels` (n, 3, "
        f"img_size, img_size): it makes {_list_shapes(outputs)} of {_list_shapes(inputs)}"
    )


def _list_shapes(values: Mapping[str, Any]) -> str:
    shapes = (f"`{name}` ({', '.join(map(str, shape))})" for name, shape in values.items())
    return ", ".join(shapes) or "nothing"


def make_onnx_encoder(
    architecture: str, tensors: Arrays, *, mean: tuple[float, ...], std: tuple[float, ...]
) -> OnnxEncoder:
    """Make an encoder of galmorph's own from the tensors of a safetensors model file."""
    graph = read_graph(architecture)
    return OnnxEncoder(graph, make_graph_weights(tensors, mean=mean, std=std))


def read_onnx_encoder(path: str | Path) -> OnnxEncoder:
    """Read a self-contained file of ``galmorph export``."""
    if Path(path).exists() and not Path(path).is_file():
        raise CheckpointError(f"{path}: cannot be read (is no file)")
    try:
        graph = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return OnnxEncoder(graph, {})
    except (CheckpointError, UnicodeDecodeError) as error:  # names that are no UTF-8
        raise CheckpointError(f"{path}: {error}") from error
