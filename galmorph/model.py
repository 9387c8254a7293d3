"""What travels together: encoder, heads, preprocessing and provenance, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from galmorph.encoders.registry import create_encoder
from galmorph.errors import CheckpointError, UnknownHeadError
from galmorph.heads import LinearHead
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.typicality import Typicality

__all__ = ["Model", "read_heads", "read_model", "write_heads", "write_model"]

METADATA_KEY = "galmorph"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Model:
    """An encoder with everything that its use needs.

    Attributes
    ----------
    name, architecture : str
        Of the released model, and of its encoder.
    encoder : torch.nn.Module
        Float32, in eval mode: normalized (n, 3, img_size, img_size) in, (n, num_features) out.
    preprocessing : Preprocessing
        How pixels are brought into the domain of the weights.
    heads : mapping of str to LinearHead
        By name; may be empty.
    typicality : Typicality or None
        What the training data look like to the encoder.
    provenance : mapping
        Where the weights came from: revision, sha256, training data, recipe.
    """

    name: str
    architecture: str
    encoder: nn.Module
    preprocessing: Preprocessing
    heads: Mapping[str, LinearHead] = field(default_factory=dict)
    typicality: Typicality | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def get_head(self, name: str) -> LinearHead:
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


def _head_to_json(head: LinearHead) -> dict[str, Any]:
    return {
        "class_names": list(head.class_names),
        "temperature": head.temperature,
        "crop": head.crop,
        "notes": dict(head.notes),
    }


def _head_tensors(heads: Mapping[str, LinearHead]) -> dict[str, Any]:
    tensors = {}
    for name, head in heads.items():
        tensors[f"heads.{name}.weight"] = np.asarray(head.weight, dtype=np.float32)
        tensors[f"heads.{name}.bias"] = np.asarray(head.bias, dtype=np.float32)
    return tensors


def _heads_from(
    metadata: Mapping[str, Any], tensors: Mapping[str, Any], path: Path
) -> dict[str, LinearHead]:
    heads = {}
    try:
        for name, values in metadata.get("heads", {}).items():
            heads[name] = LinearHead(
                name=name,
                class_names=tuple(values["class_names"]),
                weight=np.asarray(tensors[f"heads.{name}.weight"], dtype=np.float32),
                bias=np.asarray(tensors[f"heads.{name}.bias"], dtype=np.float32),
                temperature=values["temperature"],
                crop=values["crop"],
                notes=values["notes"],
            )
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
    if not isinstance(metadata, dict):
        raise CheckpointError(
            f"{path}: safetensors, but not written by galmorph; to use the authors' checkpoint "
            "run: galmorph weights convert CHECKPOINT -o model.safetensors"
        )
    if metadata.get("format_version", 0) > FORMAT_VERSION:
        raise CheckpointError(f"{path}: written by a newer galmorph; upgrade galmorph to read it")
    return metadata, tensors


def _save(
    path: str | Path, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    from safetensors.numpy import save_file

    # safetensors writes the memory as it lies: an array in Fortran order would come back wrong.
    contiguous = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    save_file(contiguous, path, metadata={METADATA_KEY: json.dumps(metadata)})


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
    """
    dtype = np.float16 if half else np.float32
    tensors: dict[str, Any] = {}
    for key, tensor in model.encoder.state_dict().items():
        array = tensor.detach().cpu().numpy()
        tensors[f"encoder.{key}"] = array.astype(dtype) if array.dtype == np.float32 else array
    tensors |= _head_tensors(model.heads)
    metadata: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": model.name,
        "architecture": model.architecture,
        "preprocessing": model.preprocessing.to_dict(),
        "heads": {name: _head_to_json(head) for name, head in model.heads.items()},
        "provenance": dict(model.provenance),
    }
    if model.typicality is not None:
        tensors |= model.typicality.to_tensors()
        metadata["typicality"] = model.typicality.to_dict()
    _save(path, tensors, metadata)


def _load_encoder(architecture: str, tensors: Mapping[str, Any], path: Path) -> nn.Module:
    import torch

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


def read_model(path: str | Path) -> Model:
    """Read a model from a safetensors file.

    Parameters
    ----------
    path : path
        As `write_model` made it.

    Returns
    -------
    Model
        On the CPU, float32, in eval mode.

    Raises
    ------
    CheckpointError
        The file cannot be read or does not hold a complete model.
    """
    path = Path(path)
    metadata, tensors = _read_file(path)
    if "architecture" not in metadata:
        raise CheckpointError(
            f"{path}: holds heads only; give it as --head, with the model that it was fitted on"
        )
    typicality = metadata.get("typicality")
    return Model(
        name=metadata["name"],
        architecture=metadata["architecture"],
        encoder=_load_encoder(metadata["architecture"], tensors, path),
        preprocessing=Preprocessing.from_dict(metadata["preprocessing"]),
        heads=_heads_from(metadata, tensors, path),
        typicality=None if typicality is None else Typicality.from_parts(typicality, tensors),
        provenance=metadata.get("provenance", {}),
    )


def write_heads(path: str | Path, heads: Mapping[str, LinearHead], *, model: str) -> None:
    """Write heads of your own to a safetensors file, with the name of their model."""
    metadata = {
        "format_version": FORMAT_VERSION,
        "model": model,
        "heads": {name: _head_to_json(head) for name, head in heads.items()},
    }
    _save(path, _head_tensors(heads), metadata)


def read_heads(path: str | Path) -> tuple[dict[str, LinearHead], str]:
    """Read heads, and the name of the model that they were fitted on.

    Raises
    ------
    CheckpointError
        The file cannot be read or holds no head.
    """
    path = Path(path)
    metadata, tensors = _read_file(path)
    heads = _heads_from(metadata, tensors, path)
    if not heads:
        raise CheckpointError(f"{path}: holds no head; make one with: galmorph fit")
    return heads, metadata.get("model", metadata.get("name", ""))
