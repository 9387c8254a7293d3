"""Checkpoints of others into safetensors, without executing what a pickle may hold."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galmorph.errors import CheckpointError, ChecksumError, OutputError, WeightsError
from galmorph.weights.environment import galmorph_cache, hide_home
from galmorph.weights.verify import (
    OWN_CHECKPOINT,
    compute_sha256,
    explain_own_checkpoint,
    read_sidecar,
    update_sidecar,
    verify_file,
    write_sidecar,
)
from galmorph.writing import write_whole

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SURVEYS", "convert_checkpoint", "make_safetensors_copy", "read_checkpoint"]

_WRAPPERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training scripts keep the tensors (the authors of Wei et al. use ``model``)."""

_DAMAGED = (
    RuntimeError, ValueError, LookupError, EOFError, TypeError, AttributeError, struct.error,
)  # fmt: skip
"""Errors by which a damaged archive or pickle fails, besides `pickle.UnpicklingError`."""

FRAME_CROP = 180 / 424
"""The part that the authors cut out of frames of 424 px before they resize to 84 px: 180 px."""

SURVEYS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "gz2": ((0.0435, 0.0384, 0.0289), (0.0877, 0.0729, 0.0650)),
    "sdss": ((0.0996, 0.0813, 0.0556), (0.1324, 0.1143, 0.0779)),
    "decals": ((0.0992, 0.0925, 0.0915), (0.1018, 0.0939, 0.0911)),
}
"""Channel mean and standard deviation on [0, 1] of each training set of Wei et al. 2022."""


def convert_checkpoint(
    checkpoint: str | os.PathLike[str], output: str | os.PathLike[str], *, survey: str = "gz2"
) -> Path:
    """Turn a checkpoint in the layout of Wei et al. 2022 into a galmorph weights file.

    The projection head, which serves training only, is left out. `survey` says which data it was
    trained on: their mean and standard deviation go into the file.
    """
    from galmorph.encoders.fused import Wei2022
    from galmorph.encoders.wei2022_keys import from_authors
    from galmorph.model import Model, write_model
    from galmorph.preprocessing.pipeline import Preprocessing

    source, target = Path(checkpoint), Path(output)
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target}: the output must end in .safetensors")
    state, sha256 = read_checkpoint(source)
    encoder = Wei2022()
    try:
        encoder.load_state_dict(from_authors(state)[0])
    except (CheckpointError, RuntimeError) as error:
        raise CheckpointError(
            f"{source}: is not in the layout of Wei et al. 2022: {_first_line(error)}"
        ) from None
    mean, std = SURVEYS[survey]
    model = Model(
        name=target.stem,
        architecture="wei2022",
        encoder=encoder.eval(),
        preprocessing=Preprocessing(img_size=84, crop=FRAME_CROP, mean=mean, std=std),
        provenance={
            "converted_from": source.name,
            "source_sha256": sha256,
            "normalization": survey,
        },
    )
    write_model(target, model)
    update_sidecar(target)
    return target


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], str]:
    """Tensors of a PyTorch checkpoint, and the sha256 of its bytes; nothing in it is executed.

    It is what ``torch.save`` wrote: a state_dict, or a dict that holds one as ``model`` or
    ``state_dict``. A CheckpointError says what else it is.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    content = _load_safely(path, data)
    if isinstance(content, Mapping) and content.keys() >= OWN_CHECKPOINT:
        raise CheckpointError(explain_own_checkpoint(path))
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    return _keep_tensors(path, content), hashlib.sha256(data).hexdigest()


def _load_safely(path: Path, data: bytes) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            # torch remarks on old pickle protocols; what matters is whether it can be read.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: is damaged, or holds more than tensors; galmorph does not execute what is in "
            f"a checkpoint. Save its state_dict alone. ({_first_line(error)})"
        ) from None
    except (*_DAMAGED, OSError) as error:
        raise CheckpointError(f"{path}: is no PyTorch checkpoint ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _keep_tensors(path: Path, content: Any) -> dict[str, Tensor]:
    import torch

    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds no state_dict")
    others = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise CheckpointError(f"{path}: holds no state_dict: {others[0]!r} is not a tensor")
    return {str(key): value for key, value in content.items()}


def make_safetensors_copy(path: Path, sha256: str) -> Path:
    """A safetensors copy of a pickled state_dict, made on first use beside the Hub cache.

    `sha256` is that of the pickle as it was checked; it names the copy.
    """
    copy = galmorph_cache() / "converted" / f"{sha256}.safetensors"
    if _is_whole(copy):
        return copy
    from safetensors.torch import save

    tensors, found = read_checkpoint(path)
    if found != sha256:
        raise ChecksumError(f"{path}: was replaced while it was read: try again")
    whole = {key: value.contiguous().clone() for key, value in tensors.items()}
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_whole(copy, save(whole, metadata={"format": "pt", "source_sha256": sha256}))
        write_sidecar(copy, compute_sha256(copy))
    except (OSError, OutputError) as error:
        cause = error.__cause__ if isinstance(error, OutputError) else error
        said = getattr(cause, "strerror", None) or error
        raise WeightsError(
            f"{hide_home(copy.parent)}: cannot be written to ({said}), and a safetensors copy of "
            f"{path.name} is to go there: set HF_HOME to a folder of yours"
        ) from None
    return copy


def _is_whole(copy: Path) -> bool:
    try:
        promised = read_sidecar(copy)
        return bool(promised) and verify_file(copy, sha256=promised, size=None) == promised
    except (CheckpointError, OSError):
        return False
