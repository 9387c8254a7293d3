"""What travels together: encoder, heads, preprocessing and provenance, in one safetensors file."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from galmorph.encoders.onnx_encoder import OnnxEncoder, make_onnx_encoder, read_onnx_encoder
from galmorph.errors import CheckpointError, UnknownHeadError, WeightsError
from galmorph.heads import Head, head_from_parts
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.schema import find_problem, parse_json
from galmorph.settings import BackendName
from galmorph.stored import load_tensors, read_stored
from galmorph.typicality import Typicality
from galmorph.writing import write_whole

if TYPE_CHECKING:
    from astropy.table import Table
    from torch import nn

METADATA_KEY = "galmorph"
TENSORS_KEY = "galmorph_tensors"  # in ONNX files: heads and typicality, safetensors in base64
FORMAT_VERSION = 1

SIGNATURE_VALUES = 16

PROBES = 2  # images that a model is tried on when it is read


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

    def __repr__(self) -> str:
        heads = ", ".join(self.heads) or "none"
        return f"Model({self.name!r}, {self.num_features} features, heads: {heads})"

    def embed(self, images: Any = None, **options: Any) -> npt.NDArray[np.float32]:
        """Embed cutouts, as `galmorph.embed` does."""
        import galmorph

        return galmorph.embed(images, model=self, **options)

    def classify(self, images: Any = None, **options: Any) -> "Table":
        """Classify cutouts, as `galmorph.classify` does."""
        import galmorph

        return galmorph.classify(images, model=self, **options)

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


def _heads_from(metadata: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Head]:
    heads = {}
    for name, values in metadata.get("heads", {}).items():
        start = f"heads.{name}."
        own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        heads[name] = head_from_parts(name, values, own)
    return heads


@contextmanager
def _say_incomplete(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except (LookupError, ValueError) as error:
        raise CheckpointError(f"{path}: the heads are not complete ({error})") from error


def _check_metadata(metadata: Any, path: Path, kind: str) -> dict[str, Any]:
    """Refuse metadata that are not those of a "model" or a "head_file"."""
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: not written by galmorph")
    version = metadata.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(f"{path}: written by a newer galmorph; upgrade galmorph to read it")
    problem = find_problem(metadata, kind)
    if problem:
        raise CheckpointError(f"{path}: its metadata are wrong: {problem}")
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
    """Write a model to one safetensors file; ``half`` stores the encoder in float16."""
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


def _load_encoder(architecture: str, tensors: Mapping[str, Any], path: Path) -> "nn.Module":
    import torch

    from galmorph.encoders.registry import create_encoder

    state = {}
    for key, array in tensors.items():
        if key.startswith("encoder."):
            tensor = torch.from_numpy(np.ascontiguousarray(array))
            floats = tensor.is_floating_point()
            state[key.removeprefix("encoder.")] = tensor.float() if floats else tensor
    encoder = create_encoder(architecture)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: the tensors do not fit architecture {architecture!r}"
        ) from error
    return encoder.eval().requires_grad_(False)


def read_model(
    path: str | Path, *, backend: BackendName = "torch", sha256: str | None = None
) -> Model:
    """Read a model from a safetensors file, or from an ONNX file, which is for that backend.

    The encoder is on the CPU, float32, in eval mode.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        return _read_onnx_model(path)
    stored = read_stored(path, sha256=sha256)
    metadata, tensors = stored.parse(METADATA_KEY, path), stored.tensors
    if isinstance(metadata, dict) and "heads" in metadata and "architecture" not in metadata:
        raise CheckpointError(
            f"{path}: holds heads only; give it as --head, with the model that it was fitted on"
        )
    metadata = _check_metadata(metadata, path, "model")
    if backend == "torch":
        encoder: Any = _load_encoder(metadata["architecture"], tensors, path)
    else:
        normalization = Preprocessing.from_dict(metadata["preprocessing"])
        encoder = make_onnx_encoder(
            metadata["architecture"], tensors, mean=normalization.mean, std=normalization.std
        )
    return _build_model(encoder, metadata, tensors, path, stored.sha256)


def _read_onnx_model(path: Path) -> Model:
    from base64 import b64decode

    encoder = read_onnx_encoder(path)
    try:
        texts = encoder.metadata
        metadata = parse_json(texts.get(METADATA_KEY, "null"))
        tensors = load_tensors(b64decode(texts.get(TENSORS_KEY, "")), path)
    except ValueError as error:
        raise CheckpointError(f"{path}: not written by galmorph export ({error})") from error
    metadata = _check_metadata(metadata, path, "model")
    return _build_model(encoder, metadata, tensors, path, hashlib.sha256(encoder.graph).hexdigest())


def _build_model(
    encoder: Any, metadata: Mapping[str, Any], tensors: Mapping[str, Any], path: Path, sha256: str
) -> Model:
    with _say_incomplete(path):
        typical = metadata.get("typicality")
        model = Model(
            name=metadata["name"],
            architecture=metadata["architecture"],
            encoder=encoder,
            preprocessing=Preprocessing.from_dict(metadata["preprocessing"]),
            heads=_heads_from(metadata, tensors),
            typicality=None if typical is None else Typicality.from_parts(typical, tensors),
            provenance={**metadata.get("provenance", {}), "sha256": sha256, "file": path.name},
        )
        _check_model(model, path)
    return model


def _check_model(model: Model, path: Path) -> None:
    """Refuse parts that do not fit together, and an encoder that gives no numbers."""
    if model.preprocessing.img_size != model.encoder.img_size:
        raise CheckpointError(
            f"{path}: its metadata are wrong: preprocessing.img_size: must be "
            f"{model.encoder.img_size}, as the encoder has it"
        )
    width = model.num_features
    parts = {f"head {name!r}": head.num_features for name, head in model.heads.items()}
    typical = {name: head.typicality for name, head in model.heads.items()}
    for name, part in {"model": model.typicality, **typical}.items():
        parts |= {} if part is None else {f"typicality of {name!r}": len(part.mean)}
    for name, wanted in parts.items():
        if wanted != width:
            raise CheckpointError(f"{path}: the {name} takes {wanted} numbers, not {width}")
    noise = _make_noise(model, PROBES)
    tried = model.encoder.try_out if isinstance(model.encoder, OnnxEncoder) else None
    said = _find_odd_output(tried(noise) if tried else _encode_by_torch(model, noise), width)
    if said:
        raise CheckpointError(f"{path}: is no working encoder: {said}")


def _find_odd_output(embedding: npt.NDArray[Any], width: int) -> str | None:
    if embedding.shape != (PROBES, width):
        return f"of {PROBES} images it makes the shape {embedding.shape}, not {(PROBES, width)}"
    if not np.isfinite(embedding).all():
        return "it makes numbers that are not finite"
    return None if np.ptp(embedding, axis=0).any() else "it makes the same of every image"


class HeadFile(NamedTuple):
    """Heads by name, and of the model that they were fitted on its name and `compute_signature`."""

    heads: dict[str, Head]
    model: str
    signature: tuple[float, ...]


def compute_signature(model: Model) -> tuple[float, ...]:
    """The first values of the embedding of uniform noise: by this a head knows an encoder again."""
    noise, own = _make_noise(model, 1), model.encoder
    by_onnx = isinstance(own, OnnxEncoder)
    embedding = own.encode(noise) if by_onnx else _encode_by_torch(model, noise)
    return tuple(round(float(value), 5) for value in embedding[0, :SIGNATURE_VALUES])


def _make_noise(model: Model, count: int) -> npt.NDArray[np.float32]:
    size = model.preprocessing.img_size
    return np.random.default_rng(0).random((count, 3, size, size), dtype=np.float32)


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
    path: str | Path, heads: Mapping[str, Head], *, model: str, signature: tuple[float, ...] = ()
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
    """Read heads, and what tells the model that they were fitted on."""
    path = Path(path)
    stored = read_stored(path)
    metadata = stored.parse(METADATA_KEY, path)
    whole = isinstance(metadata, dict) and "architecture" in metadata
    metadata = _check_metadata(metadata, path, "model" if whole else "head_file")
    with _say_incomplete(path):
        heads = _heads_from(metadata, stored.tensors)
    if not heads:
        raise CheckpointError(f"{path}: holds no head; make one with: galmorph fit")
    if whole:
        raise UnknownHeadError(
            f"{path}: is a whole model, with the heads {', '.join(heads)}; give it as --model "
            f"{path} --head NAME"
        )
    return HeadFile(heads, metadata.get("model", ""), tuple(metadata.get("signature", ())))
