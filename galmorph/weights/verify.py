"""Checks that a weights file is whole, and the published one."""

import hashlib
from functools import lru_cache
from pathlib import Path

from galmorph.errors import CheckpointError, ChecksumError
from galmorph.writing import say_unwritable

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def compute_sha256(path: Path, *, remembered: bool = True) -> str:
    """64 hex digits; by default recalled where this process has read the file as it still is."""
    stat = path.stat()
    mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return _digest(path, mark) if remembered else _digest.__wrapped__(path, mark)


@lru_cache(maxsize=64)
def _digest(path: Path, mark: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_file(
    path: Path, *, sha256: str | None, size: int | None, remembered: bool = True
) -> str:
    """Check a weights file against what is known of it; returns its sha256."""
    actual = path.stat().st_size
    if size is not None and actual != size:
        what = "cut short" if actual < size else "too long"
        raise ChecksumError(f"{path}: is {what}: {actual} bytes, the published file has {size}")
    digest = compute_sha256(path, remembered=remembered)
    if sha256 is not None and digest != sha256:
        raise ChecksumError(
            f"{path}: is not the published file: its sha256 is {digest}, expected {sha256}"
        )
    return digest


def check_whole(path: Path) -> None:
    """Refuse what is no safetensors file, or not all of one; its tensors are not read."""
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        if file.read(4).startswith(_PICKLE_STARTS):
            raise CheckpointError(
                f"{path}: is a pickled checkpoint, not safetensors; of one that galmorph pretrain "
                f"wrote make a model: galmorph pretrain -o {path.parent} --export model.safetensors"
            )
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is not a whole safetensors file ({error})") from None


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def read_sidecar(path: Path) -> str | None:
    """The sha256 that ``FILE.sha256`` beside a file promises, if there is one."""
    try:
        words = _sidecar(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return None
    return words[0].lower() if words else None


def write_sidecar(path: Path, sha256: str) -> None:
    """Write ``FILE.sha256`` as ``sha256sum`` does, so that ``sha256sum -c`` can check it."""
    _sidecar(path).write_text(f"{sha256}  {path.name}\n", encoding="utf-8")


def update_sidecar(path: Path) -> None:
    """Let a ``FILE.sha256`` that is there hold for what was just written in place of a file."""
    if read_sidecar(path) is not None:
        with say_unwritable(_sidecar(path), "it no longer holds: take it away"):
            write_sidecar(path, compute_sha256(path, remembered=False))
