"""Libraries that need not be there."""

from __future__ import annotations

import importlib
from typing import Any

from galmorph.errors import MissingExtraError


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """A module of a library that an extra of galmorph brings."""
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(package, extra, purpose) from error
