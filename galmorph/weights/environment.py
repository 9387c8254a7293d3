"""The environment variables of the Hub, read when they are needed.

huggingface_hub reads its own once, when it is imported. galmorph reads them at every call, so that
a variable set later, in a notebook for example, counts as well.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = [
    "galmorph_cache",
    "get_endpoint",
    "get_timeout",
    "hub_cache",
    "is_offline",
    "weights_dir",
]

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_TIMEOUT_S = 10.0
"""Seconds without a byte after which a server counts as silent (huggingface_hub's own default)."""

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in _TRUE


def _expand(path: str) -> Path:
    expanded = Path(os.path.expandvars(path))
    try:
        return expanded.expanduser()
    except RuntimeError:  # no HOME, and a user that the system does not know, as in containers
        return _substitute_home().joinpath(*expanded.parts[1:])


def _substitute_home() -> Path:
    """A folder in place of a home, one for each user."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"galmorph-{user}"


def is_offline(offline: bool | None = None) -> bool:
    """Tell whether the network may be used.

    Parameters
    ----------
    offline : bool, optional
        An explicit choice. Without one, ``HF_HUB_OFFLINE`` and ``TRANSFORMERS_OFFLINE`` decide.
    """
    if offline is not None:
        return offline
    return _is_true("HF_HUB_OFFLINE") or _is_true("TRANSFORMERS_OFFLINE")


def get_endpoint() -> str:
    """Address of the Hub: ``HF_ENDPOINT`` or huggingface.co, without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def get_timeout() -> float:
    """Seconds to wait for a byte: ``HF_HUB_DOWNLOAD_TIMEOUT`` or 10."""
    try:
        seconds = float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", ""))
    except ValueError:
        return DEFAULT_TIMEOUT_S
    return seconds if seconds > 0 else DEFAULT_TIMEOUT_S


def _hf_home() -> Path:
    if home := os.environ.get("HF_HOME"):
        return _expand(home)
    return _expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def hub_cache() -> Path:
    """Folder of the Hub cache, by ``HF_HUB_CACHE``, ``HF_HOME`` and ``XDG_CACHE_HOME``."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return _expand(folder)
    return _hf_home() / "hub"


def galmorph_cache() -> Path:
    """Folder of galmorph's own small files, beside the Hub cache."""
    return _hf_home() / "galmorph"


def weights_dir() -> Path | None:
    """Folder that ``galmorph weights download --to`` has filled: ``GALMORPH_WEIGHTS_DIR``."""
    folder = os.environ.get("GALMORPH_WEIGHTS_DIR")
    return _expand(folder) if folder else None
