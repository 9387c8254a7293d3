"""Checkpoints of a training run: written whole or not at all, read without executing anything."""

import io
from pathlib import Path
from typing import Any

import torch

from galmorph.errors import TrainingError
from galmorph.writing import write_whole

CHECKPOINT = "checkpoint.pt"
KEYS = frozenset({"encoder", "projection", "step", "fingerprint"})


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read the checkpoint of a run, by its folder or file, without executing anything in it."""
    if path.is_dir():
        path = path / CHECKPOINT
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"{path}: there is no checkpoint to go on from") from None
    except Exception as error:
        raise TrainingError(f"{path}: the checkpoint cannot be read ({error})") from error
    if not isinstance(state, dict) or not set(state) >= KEYS:
        raise TrainingError(f"{path}: not a checkpoint of galmorph pretrain")
    return state


def get_kept(state: dict[str, Any], part: str) -> dict[str, Any]:
    """State dict of the ``encoder`` or the ``projection`` to keep: the average if there is one."""
    average = state.get("average")
    if average is None:
        weights: dict[str, Any] = state[part]
        return weights
    prefix = f"module.{part}."
    return {k.removeprefix(prefix): v for k, v in average.items() if k.startswith(prefix)}


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``checkpoint.pt`` into a folder; the one before it stays until this one is whole."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(folder / CHECKPOINT, buffer.getvalue())
