"""The environment variables of the Hub, read at every call: a notebook may set them late."""

import os
import tempfile
from pathlib import Path

DEFAULT_ENDPOINT = "https://huggingface.co"

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def _expand(path: str) -> Path:
    expanded = Path(os.path.expandvars(path))
    try:
        return expanded.expanduser()
    except RuntimeError:  # no HOME, and a user that the system does not know, as in containers
        user = os.getuid() if hasattr(os, "getuid") else "user"
        return Path(tempfile.gettempdir(), f"galmorph-{user}", *expanded.parts[1:])


def is_offline() -> bool:
    """Whether the network is off, by the Hub's variables."""
    variables = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in _TRUE for name in variables)


def get_endpoint() -> str:
    """Address of the Hub: ``HF_ENDPOINT`` or huggingface.co, without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def hub_cache() -> Path:
    """Folder of the Hub cache, by ``HF_HUB_CACHE``, ``HF_HOME`` and ``XDG_CACHE_HOME``."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return _expand(folder)
    if home := os.environ.get("HF_HOME"):
        return _expand(home) / "hub"
    return _expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def weights_dir() -> Path | None:
    """Folder that ``galmorph weights download --to`` has filled: ``GALMORPH_WEIGHTS_DIR``."""
    folder = os.environ.get("GALMORPH_WEIGHTS_DIR")
    return _expand(folder) if folder else None
