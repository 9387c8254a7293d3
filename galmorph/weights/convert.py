"""Checkpoints of others into safetensors, without executing what a pickle may hold."""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galmorph.errors import CheckpointError
from galmorph.weights.environment import galmorph_cache
from galmorph.weights.verify import check_safetensors, compute_sha256, read_sidecar, write_sidecar

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["make_safetensors_copy", "read_checkpoint"]

_WRAPPERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training scripts keep the tensors (the authors of Wei et al. use ``model``)."""


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
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    return _keep_tensors(Path(path), content)


def _load_safely(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: is damaged, or holds more than tensors; galmorph does not execute what is in "
            f"a checkpoint. Save its state_dict alone. ({_first_line(error)})"
        ) from None
    except Exception as error:  # a damaged zip or pickle fails in many ways
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
    """
    copy = galmorph_cache() / "converted" / f"{sha256}.safetensors"
    if _is_whole(copy):
        return copy
    from safetensors.torch import save_file

    tensors = {key: value.contiguous() for key, value in read_checkpoint(path).items()}
    copy.parent.mkdir(parents=True, exist_ok=True)
    temporary = copy.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    save_file(tensors, temporary, metadata={"format": "pt", "source_sha256": sha256})
    os.replace(temporary, copy)
    write_sidecar(copy, compute_sha256(copy))
    return copy


def _is_whole(copy: Path) -> bool:
    promised = read_sidecar(copy)
    if promised is None or not copy.is_file():
        return False
    try:
        check_safetensors(copy)
    except Exception:  # damaged in whatever way: it is made again
        return False
    return compute_sha256(copy) == promised
