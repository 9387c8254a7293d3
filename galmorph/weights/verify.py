"""Checks that a weights file is whole, and the published one.

A sha256 is computed once per file and remembered by path, size and time of change, so that the next
start costs one look at the file's entry.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

from galmorph.errors import CheckpointError, ChecksumError, OutputError
from galmorph.weights.environment import galmorph_cache

__all__ = [
    "OWN_CHECKPOINT",
    "check_safetensors",
    "compute_sha256",
    "explain_own_checkpoint",
    "read_metadata",
    "read_sidecar",
    "update_sidecar",
    "verify_file",
    "write_sidecar",
]

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 100_000_000
"""Longest header that the safetensors format allows."""

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


OWN_CHECKPOINT = frozenset({"encoder", "projection", "step", "fingerprint"})
"""Keys of every checkpoint of ``galmorph pretrain``, which holds no model yet."""

HEAD_BYTES = 1 << 20
"""Of a checkpoint: torch writes the names in it first."""


def compute_sha256(path: Path, *, remembered: bool = True) -> str:
    """Compute the sha256 of a file, or recall it.

    Parameters
    ----------
    path : Path
    remembered : bool
        Whether a value may be recalled that was computed for this path, size and time of change.

    Returns
    -------
    str
        64 hex digits.
    """
    stat = path.stat()
    key, mark = os.fspath(path.resolve()), [stat.st_size, stat.st_mtime_ns]
    known = _read_memory().get(key) if remembered else None
    if isinstance(known, dict) and known.get("mark") == mark:
        return str(known["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _remember(key, {"mark": mark, "sha256": digest})
    return digest


def verify_file(
    path: Path, *, sha256: str | None, size: int | None, remembered: bool = True
) -> str:
    """Check a weights file against what the manifest says of it.

    Parameters
    ----------
    path : Path
    sha256 : str or None
        What it must be; None where nobody knows.
    size : int or None
        Bytes; None where nobody knows.
    remembered : bool
        Whether a sha256 computed earlier for this very file counts.

    Returns
    -------
    str
        The file's sha256.

    Raises
    ------
    ChecksumError
        The file is cut short, too long or another one; the message names it.
    CheckpointError
        The file is no safetensors file.
    """
    actual = path.stat().st_size
    if size is not None and actual != size:
        what = "cut short" if actual < size else "too long"
        raise ChecksumError(f"{path}: is {what}: {actual} bytes, the published file has {size}")
    if path.suffix == ".safetensors" and sha256 is None:
        check_safetensors(path)
    digest = compute_sha256(path, remembered=remembered)
    if sha256 is not None and digest != sha256:
        raise ChecksumError(
            f"{path}: is not the published file: its sha256 is {digest}, expected {sha256}"
        )
    return digest


def check_safetensors(path: Path) -> None:
    """Check that a file is a whole safetensors file, by its header, without reading tensors.

    Raises
    ------
    ChecksumError
        It is shorter or longer than its own header says.
    CheckpointError
        It is something else, such as a pickle.
    """
    with path.open("rb") as file:
        start = file.read(8)
        size = os.fstat(file.fileno()).st_size
        if start.startswith(_PICKLE_STARTS):
            head = file.read(HEAD_BYTES)
            if all(key.encode() in head for key in OWN_CHECKPOINT):
                raise CheckpointError(explain_own_checkpoint(path))
            raise CheckpointError(
                f"{path}: is a pickled checkpoint, not safetensors; convert it with: "
                f"galmorph weights convert {path} -o model.safetensors"
            )
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= MAX_HEADER_BYTES:
            raise CheckpointError(f"{path}: is not a safetensors file")
        end = 8 + length + _data_bytes(path, file.read(length), length)
    if size != end:
        what = "cut short" if size < end else "too long"
        raise ChecksumError(f"{path}: is {what}: {size} bytes, its header promises {end}")


def explain_own_checkpoint(path: Path) -> str:
    """What to do with a checkpoint of ``galmorph pretrain``."""
    return (
        f"{path}: is a checkpoint of galmorph pretrain; make a model of it with: galmorph pretrain "
        f"-o {path.parent} --export model.safetensors"
    )


def _data_bytes(path: Path, header: bytes, length: int) -> int:
    """Bytes of tensors that the header promises."""
    if len(header) < length:
        raise ChecksumError(f"{path}: is cut short: it ends inside its header")
    try:
        parts = json.loads(header)
        ends = [part["data_offsets"][1] for key, part in parts.items() if key != "__metadata__"]
        return max((int(end) for end in ends), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise CheckpointError(
            f"{path}: is not a safetensors file (its header is damaged)"
        ) from None


def read_metadata(path: Path) -> dict[str, str]:
    """Return the texts in the header of a safetensors file, without safetensors and without torch.

    Raises
    ------
    ChecksumError, CheckpointError
        See `check_safetensors`.
    """
    check_safetensors(path)
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        metadata = json.loads(file.read(length)).get("__metadata__")
    return {str(k): str(v) for k, v in metadata.items()} if isinstance(metadata, dict) else {}


def _memory_file() -> Path:
    return galmorph_cache() / "verified.json"


def _read_memory() -> dict[str, Any]:
    try:
        memory = json.loads(_memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}


def _remember(key: str, value: dict[str, Any]) -> None:
    """Keep one line; a memory that cannot be written only costs time at the next start."""
    memory = {k: v for k, v in _read_memory().items() if k == key or os.path.exists(k)}
    memory[key] = value
    file = _memory_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(memory, stream)
        os.replace(temporary, file)
    except OSError as error:
        logger.debug("cannot remember verified files in %s: %s", file, error)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def read_sidecar(path: Path) -> str | None:
    """Return the sha256 that ``FILE.sha256`` beside a file promises, if there is one."""
    try:
        words = _sidecar(path).read_text(encoding="utf-8").split()
    except OSError:
        return None
    return words[0].lower() if words else None


def write_sidecar(path: Path, sha256: str) -> None:
    """Write ``FILE.sha256`` as ``sha256sum`` does, so that ``sha256sum -c`` can check it."""
    _sidecar(path).write_text(f"{sha256}  {path.name}\n", encoding="utf-8")


def update_sidecar(path: Path) -> None:
    """Let a ``FILE.sha256`` that is there hold for what was just written in place of a file."""
    if read_sidecar(path) is None:
        return
    try:
        write_sidecar(path, compute_sha256(path, remembered=False))
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"{_sidecar(path)}: cannot be written ({reason}), and no longer holds: take it away"
        ) from error
