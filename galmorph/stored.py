"""A safetensors file, read once: what is hashed and checked is what is used."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CheckpointError, ChecksumError
from galmorph.schema import LONGEST_HEADER, parse_json


@dataclass(frozen=True)
class Stored:
    """What a file holds: texts by key, arrays by name, and the sha256 of its bytes."""

    texts: Mapping[str, str]
    tensors: Mapping[str, Any]
    sha256: str

    def parse(self, key: str, path: str | Path) -> Any:
        """The JSON under a key of the texts; None where there is none."""
        try:
            return parse_json(self.texts.get(key, "null"))
        except ValueError as error:
            raise CheckpointError(f"{path}: its metadata are no JSON ({error})") from None


def read_stored(path: str | Path, *, sha256: str | None = None) -> Stored:
    """Read a safetensors file of finite numbers, whose sha256 is the one given, if any."""
    data, digest = read_bytes(path, sha256)
    tensors = load_tensors(data, path)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # safetensors read it
    return Stored(header.get("__metadata__", {}), tensors, digest)


def read_bytes(path: str | Path, sha256: str | None) -> tuple[bytes, str]:
    """All bytes of a file and their sha256, which is to be the one given."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise OSError("is no file")  # a pipe would be waited for
        data = Path(path).read_bytes()
    except OSError as error:
        said = error.strerror or error
        raise CheckpointError(f"{path}: not a readable safetensors file ({said})") from None
    digest = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, digest):
        raise ChecksumError(f"{path}: was replaced after it was checked; try again")
    return data, digest


def load_tensors(data: bytes, path: str | Path) -> dict[str, Any]:
    """Arrays of the bytes of a safetensors file, all of them finite."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        if int.from_bytes(data[:8], "little") > LONGEST_HEADER:
            raise ValueError("its header is too long")
        tensors: dict[str, Any] = load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from None
    check_finite(tensors, path)
    return tensors


def check_finite(tensors: Mapping[str, Any], path: str | Path) -> None:
    """Refuse arrays that hold anything but numbers which float32 can hold."""
    for name, array in tensors.items():
        if array.dtype.kind not in "fiu":
            raise CheckpointError(f"{path}: {name} holds {array.dtype}, not numbers")
        with np.errstate(over="ignore"):
            bad = array.size - int(np.isfinite(array.astype(np.float32, copy=False)).sum())
        if bad:
            raise CheckpointError(f"{path}: {name} holds {bad} values that are not finite")
