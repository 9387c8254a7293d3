"""What travels together: encoder, heads, preprocessing and provenance, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from galmorph.encoders.onnx_encoder import OnnxEncoder, make_onnx_encoder, read_onnx_encoder
from galmorph.errors import CheckpointError, UnknownHeadError, WeightsError
from galmorph.heads import Head, head_from_parts
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.typicality import Typicality
from galmorph.writing import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "BackendName",
    "HeadFile",
    "Model",
    "compute_signature",
    "describe_model",
    "read_heads",
    "read_model",
    "write_heads",
    "write_model",
]

BackendName = Literal["torch", "onnx"]
METADATA_KEY = "galmorph"
TENSORS_KEY = "galmorph_tensors"
"""In ONNX files: heads and typicality, as base64 of a safetensors file."""

FORMAT_VERSION = 1

SIGNATURE_VALUES = 16


@dataclass(frozen=True)
class Model:
    """An encoder with everything that its use needs.

    Attributes
    ----------
    name, architecture : str
        Of the released model, and of its encoder.
    encoder : torch.nn.Module or OnnxEncoder
        The module is float32 and in eval mode: normalized (n, 3, img_size, img_size) in,
        (n, num_features) out. An `OnnxEncoder` stands here after loading with
        ``backend="onnx"``.
    preprocessing : Preprocessing
        How pixels are brought into the domain of the weights.
    heads : mapping of str to Head
        By name; may be empty.
    typicality : Typicality or None
        What the training data look like to the encoder.
    provenance : mapping
        Where the weights came from: revision, sha256, training data, recipe.
    """

    name: str
    architecture: str
    encoder: Any
    preprocessing: Preprocessing
    heads: Mapping[str, Head] = field(default_factory=dict)
    typicality: Typicality | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_features(self) -> int:
        """Length of the embedding."""
        return int(self.encoder.num_features)

    @property
    def backend(self) -> BackendName:
        """What computes the embeddings."""
        return "onnx" if isinstance(self.encoder, OnnxEncoder) else "torch"

    def get_head(self, name: str) -> Head:
        """The head of that name.

        Raises
        ------
        UnknownHeadError
            The model has none of that name.
        """
        if name not in self.heads:
            there = ", ".join(self.heads) or "none"
            raise UnknownHeadError(
                f"model {self.name!r} has no head {name!r}; it has: {there}. A head of your own "
                "is given by its path, ending in .safetensors"
            )
        return self.heads[name]


def _head_tensors(heads: Mapping[str, Head]) -> dict[str, Any]:
    return {
        f"heads.{name}.{part}": array
        for name, head in heads.items()
        for part, array in head.to_tensors().items()
    }


def _typicality_from(values: Mapping[str, Any], tensors: Mapping[str, Any]) -> Typicality | None:
    found = values.get("typicality")
    return None if found is None else Typicality.from_parts(found, tensors)


def _heads_from(
    metadata: Mapping[str, Any], tensors: Mapping[str, Any], path: Path
) -> dict[str, Head]:
    heads = {}
    try:
        for name, values in metadata.get("heads", {}).items():
            start = f"heads.{name}."
            own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            heads[name] = head_from_parts(name, values, own)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: the heads are not complete ({error})") from error
    return heads


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and tensors (as numpy arrays) of a safetensors file that galmorph wrote."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    return _check_metadata(metadata, path), tensors


def _check_metadata(metadata: Any, path: Path) -> dict[str, Any]:
    if not isinstance(metadata, dict):
        raise CheckpointError(
            f"{path}: not written by galmorph; to use the authors' checkpoint run: galmorph "
            "weights convert CHECKPOINT -o model.safetensors"
        )
    if metadata.get("format_version", 0) > FORMAT_VERSION:
        raise CheckpointError(f"{path}: written by a newer galmorph; upgrade galmorph to read it")
    return metadata


def _save(
    path: str | Path, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    from safetensors.numpy import save

    # safetensors writes the memory as it lies: an array in Fortran order would come back wrong.
    contiguous = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    # save_file would make a file that only its owner can read.
    write_whole(path, save(contiguous, metadata={METADATA_KEY: json.dumps(metadata)}))


def write_model(path: str | Path, model: Model, *, half: bool = False) -> None:
    """Write a model to one safetensors file.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``.
    model : Model
        What to write.
    half : bool
        Store the encoder in float16; it is read back as float32.

    Raises
    ------
    OutputError
        It cannot be written; a file that was there stays as it was.
    WeightsError
        float16 cannot hold a value of the encoder.
    """
    tensors: dict[str, Any] = {}
    for key, tensor in model.encoder.state_dict().items():
        array = tensor.detach().cpu().numpy()
        shrink = half and array.dtype == np.float32
        tensors[f"encoder.{key}"] = _to_half(array, f"{path}: encoder.{key}") if shrink else array
    metadata, others = describe_model(model)
    _save(path, tensors | others, metadata)


def _to_half(array: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float16]:
    """The array in float16; a finite value that would become infinite is an error."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    lost = np.isinf(half) & np.isfinite(array)
    if lost.any():
        raise WeightsError(
            f"{name} holds {array[lost][0]:.3g}, and float16 ends at "
            f"{np.finfo(np.float16).max:.0f}: store the model in float32, without --half"
        )
    return half


def describe_model(model: Model) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """All of a model but its encoder: what goes into JSON, and arrays by name."""
    metadata: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": model.name,
        "architecture": model.architecture,
        "preprocessing": model.preprocessing.to_dict(),
        "heads": {name: head.to_dict() for name, head in model.heads.items()},
        "provenance": dict(model.provenance),
    }
    tensors = _head_tensors(model.heads)
    if model.typicality is not None:
        tensors |= model.typicality.to_tensors()
        metadata["typicality"] = model.typicality.to_dict()
    return metadata, tensors


def _load_encoder(architecture: str, tensors: Mapping[str, Any], path: Path) -> nn.Module:
    import torch

    from galmorph.encoders.registry import create_encoder

    state: dict[str, Tensor] = {}
    for key, array in tensors.items():
        if key.startswith("encoder."):
            tensor = torch.from_numpy(np.ascontiguousarray(array))
            state[key.removeprefix("encoder.")] = (
                tensor.float() if tensor.is_floating_point() else tensor
            )
    encoder = create_encoder(architecture)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: the tensors do not fit architecture {architecture!r}"
        ) from error
    return encoder.eval().requires_grad_(False)


def read_model(path: str | Path, *, backend: BackendName = "torch") -> Model:
    """Read a model from a safetensors file, or from an ONNX file of ``galmorph export``.

    Parameters
    ----------
    path : path
        As `write_model` made it, or ending in ``.onnx``.
    backend : {"torch", "onnx"}
        What is to compute the embeddings; an ONNX file is always for onnxruntime. With "onnx"
        torch is not imported.

    Returns
    -------
    Model
        On the CPU, float32, in eval mode.

    Raises
    ------
    CheckpointError
        The file cannot be read or does not hold a complete model.
    UnknownModelError
        An architecture that galmorph, or this backend, does not have.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        return _read_onnx_model(path)
    metadata, tensors = _read_file(path)
    if "architecture" not in metadata:
        raise CheckpointError(
            f"{path}: holds heads only; give it as --head, with the model that it was fitted on"
        )
    if backend == "torch":
        encoder: Any = _load_encoder(metadata["architecture"], tensors, path)
    else:
        normalization = Preprocessing.from_dict(metadata["preprocessing"])
        encoder = make_onnx_encoder(
            metadata["architecture"], tensors, mean=normalization.mean, std=normalization.std
        )
    return _build_model(encoder, metadata, tensors, path)


def _read_onnx_model(path: Path) -> Model:
    from base64 import b64decode

    from safetensors import SafetensorError
    from safetensors.numpy import load

    encoder = read_onnx_encoder(path)
    try:
        metadata = json.loads(encoder.metadata.get(METADATA_KEY, "null"))
        tensors = load(b64decode(encoder.metadata.get(TENSORS_KEY, "")))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: not written by galmorph export ({error})") from error
    return _build_model(encoder, _check_metadata(metadata, path), tensors, path)


def _build_model(
    encoder: Any, metadata: Mapping[str, Any], tensors: Mapping[str, Any], path: Path
) -> Model:
    return Model(
        name=metadata["name"],
        architecture=metadata["architecture"],
        encoder=encoder,
        preprocessing=Preprocessing.from_dict(metadata["preprocessing"]),
        heads=_heads_from(metadata, tensors, path),
        typicality=_typicality_from(metadata, tensors),
        provenance=metadata.get("provenance", {}),
    )


class HeadFile(NamedTuple):
    """What a file of heads holds.

    Attributes
    ----------
    heads : dict of str to Head
    model : str
        Name of the model that they were fitted on.
    signature : tuple of float
        Of that model, as `compute_signature` gives it; empty in files of earlier versions.
    """

    heads: dict[str, Head]
    model: str
    signature: tuple[float, ...]


def compute_signature(model: Model) -> tuple[float, ...]:
    """What the encoder makes of a stated image: by this a head knows it again.

    Parameters
    ----------
    model : Model
        With either backend: they agree to rounding.

    Returns
    -------
    tuple of float
        The first values of the embedding of uniform noise on [0, 1] from a fixed seed.
    """
    size = model.preprocessing.img_size
    pixels = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
    if isinstance(model.encoder, OnnxEncoder):
        embedding = model.encoder.encode(pixels)
    else:
        embedding = _encode_by_torch(model, pixels)
    return tuple(round(float(value), 5) for value in embedding[0, :SIGNATURE_VALUES])


def _encode_by_torch(model: Model, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import torch

    mean, std = (
        np.array(values, dtype=np.float32).reshape(1, 3, 1, 1)
        for values in (model.preprocessing.mean, model.preprocessing.std)
    )
    where = next(model.encoder.parameters())
    with torch.inference_mode():
        x = torch.from_numpy((pixels - mean) / std).to(where.device, where.dtype)
        embedding: npt.NDArray[np.float32] = model.encoder(x).float().cpu().numpy()
    return embedding


def write_heads(
    path: str | Path,
    heads: Mapping[str, Head],
    *,
    model: str,
    signature: tuple[float, ...] = (),
) -> None:
    """Write heads of your own to a safetensors file, with name and signature of their model."""
    metadata = {
        "format_version": FORMAT_VERSION,
        "model": model,
        "signature": list(signature),
        "heads": {name: head.to_dict() for name, head in heads.items()},
    }
    _save(path, _head_tensors(heads), metadata)


def read_heads(path: str | Path) -> HeadFile:
    """Read heads, and what tells the model that they were fitted on.

    Raises
    ------
    CheckpointError
        The file cannot be read or holds no head.
    UnknownHeadError
        It is a whole model, whose heads fit the encoder beside them alone.
    """
    path = Path(path)
    metadata, tensors = _read_file(path)
    heads = _heads_from(metadata, tensors, path)
    if not heads:
        raise CheckpointError(f"{path}: holds no head; make one with: galmorph fit")
    if "architecture" in metadata:
        raise UnknownHeadError(
            f"{path}: is a whole model, with the heads {', '.join(heads)}; give it as --model "
            f"{path} --head NAME"
        )
    return HeadFile(heads, metadata.get("model", ""), tuple(metadata.get("signature", ())))
