"""Checkpoints of others into safetensors, without executing what a pickle may hold."""

from __future__ import annotations

import os
import pickle
import struct
import uuid
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galmorph.errors import CheckpointError, WeightsError
from galmorph.weights.environment import galmorph_cache
from galmorph.weights.verify import (
    OWN_CHECKPOINT,
    check_safetensors,
    compute_sha256,
    explain_own_checkpoint,
    read_sidecar,
    update_sidecar,
    write_sidecar,
)

if TYPE_CHECKING:
    from torch import Tensor

    from galmorph.model import Model

__all__ = ["SURVEYS", "convert_checkpoint", "make_safetensors_copy", "read_checkpoint"]

_WRAPPERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training scripts keep the tensors (the authors of Wei et al. use ``model``)."""

_DAMAGED = (
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    AttributeError,
    struct.error,
)
"""How a damaged archive or pickle fails, besides `pickle.UnpicklingError`."""

FRAME_CROP = 180 / 424
"""The authors cut the central 180 px out of frames of 424 px before they resize to 84 px."""

SURVEYS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "gz2": ((0.0435, 0.0384, 0.0289), (0.0877, 0.0729, 0.0650)),
    "sdss": ((0.0996, 0.0813, 0.0556), (0.1324, 0.1143, 0.0779)),
    "decals": ((0.0992, 0.0925, 0.0915), (0.1018, 0.0939, 0.0911)),
}
"""Channel mean and standard deviation on [0, 1] of each training set of Wei et al. 2022."""


def convert_checkpoint(
    checkpoint: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    survey: str = "gz2",
    name: str | None = None,
) -> Path:
    """Turn a checkpoint in the layout of Wei et al. 2022 into a galmorph weights file.

    The projection head, which serves training only, is left out.

    Parameters
    ----------
    checkpoint : path-like
        As their training code writes it; see `read_checkpoint`.
    output : path-like
        To be written; ends in ``.safetensors``.
    survey : {"gz2", "sdss", "decals"}
        Which data it was trained on: their mean and standard deviation go into the file.
    name : str, optional
        Of the model; the output's name otherwise.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    CheckpointError
        The checkpoint cannot be read, or is not in that layout.
    OutputError
        The output cannot be written.
    """
    from galmorph.model import write_model

    source, target = Path(checkpoint), Path(output)
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target}: the output must end in .safetensors")
    if survey not in SURVEYS:
        raise CheckpointError(f"no survey {survey!r}; known: {', '.join(SURVEYS)}")
    model = _make_wei2022(source, survey, name or target.stem)
    write_model(target, model)
    update_sidecar(target)
    return target


def _make_wei2022(source: Path, survey: str, name: str) -> Model:
    from galmorph.encoders.fused import Wei2022
    from galmorph.encoders.wei2022_keys import from_authors
    from galmorph.model import Model
    from galmorph.preprocessing.pipeline import Preprocessing

    state = read_checkpoint(source)
    encoder = Wei2022()
    try:
        encoder.load_state_dict(from_authors(state)[0])
    except (CheckpointError, RuntimeError) as error:
        raise CheckpointError(
            f"{source}: is not in the layout of Wei et al. 2022: {_first_line(error)}"
        ) from None
    mean, std = SURVEYS[survey]
    return Model(
        name=name,
        architecture="wei2022",
        encoder=encoder.eval(),
        preprocessing=Preprocessing(img_size=84, crop=FRAME_CROP, mean=mean, std=std),
        provenance={
            "converted_from": source.name,
            "source_sha256": compute_sha256(source),
            "normalization": survey,
        },
    )


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a PyTorch checkpoint; nothing that it holds is executed.

    Parameters
    ----------
    path : path-like
        What ``torch.save`` wrote: a state_dict, or a dict that holds one as ``model`` or
        ``state_dict``.

    Returns
    -------
    dict of str to Tensor
        On the CPU.

    Raises
    ------
    CheckpointError
        It cannot be read, is damaged, holds code, or holds no state_dict; the message names it.
    """
    content = _load_safely(Path(path))
    if isinstance(content, Mapping) and content.keys() >= OWN_CHECKPOINT:
        raise CheckpointError(explain_own_checkpoint(Path(path)))
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    return _keep_tensors(Path(path), content)


def _load_safely(path: Path) -> Any:
    import torch
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings():
            # torch remarks on old pickle protocols; what matters is whether it can be read.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: is damaged, or holds more than tensors; galmorph does not execute what is in "
            f"a checkpoint. Save its state_dict alone. ({_first_line(error)})"
        ) from None
    except (*_DAMAGED, SafetensorError) as error:
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
    """Return a safetensors copy of a pickled state_dict, made on first use.

    Parameters
    ----------
    path : Path
        A pickle whose sha256 has been checked.
    sha256 : str
        Of the pickle; it names the copy.

    Returns
    -------
    Path
        In galmorph's own folder beside the Hub cache.

    Raises
    ------
    CheckpointError
        The pickle holds no state_dict.
    WeightsError
        That folder cannot be written to.
    """
    copy = galmorph_cache() / "converted" / f"{sha256}.safetensors"
    if _is_whole(copy):
        return copy
    from safetensors.torch import save

    tensors = {key: value.contiguous().clone() for key, value in read_checkpoint(path).items()}
    temporary = copy.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        # save_file would make a file that only its owner can read.
        temporary.write_bytes(save(tensors, metadata={"format": "pt", "source_sha256": sha256}))
        os.replace(temporary, copy)
        write_sidecar(copy, compute_sha256(copy))
    except OSError as error:
        raise WeightsError(
            f"{copy.parent}: cannot be written to ({error.strerror or error}), and a safetensors "
            f"copy of {path.name} is to go there: set HF_HOME to a folder of yours"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return copy


def _is_whole(copy: Path) -> bool:
    try:
        promised = read_sidecar(copy)
        if promised is None or not copy.is_file():
            return False
        check_safetensors(copy)
        return compute_sha256(copy) == promised
    except (CheckpointError, OSError):
        return False
