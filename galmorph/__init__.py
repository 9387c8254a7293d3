"""Galaxy cutouts to morphology classes and embeddings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galmorph.api import classify, embed, read_cutout
    from galmorph.explorer.app import explore
    from galmorph.flags import Flags, decode_flags
    from galmorph.frames import partition
    from galmorph.images.cutout import Cutout
    from galmorph.model import Model
    from galmorph.neighbours.search import search
    from galmorph.pages.report import report
    from galmorph.pipeline import list_models, load_model
    from galmorph.surveys.cutouts import Survey
    from galmorph.tables.writers import write_table

__all__ = [
    "Cutout",
    "Flags",
    "Model",
    "Survey",
    "classify",
    "decode_flags",
    "embed",
    "explore",
    "list_models",
    "load_model",
    "partition",
    "read_cutout",
    "report",
    "search",
    "write_table",
]

_HOMES = {
    "Cutout": "galmorph.images.cutout",
    "Flags": "galmorph.flags",
    "Model": "galmorph.model",
    "Survey": "galmorph.surveys.cutouts",
    "classify": "galmorph.api",
    "decode_flags": "galmorph.flags",
    "embed": "galmorph.api",
    "explore": "galmorph.explorer.app",
    "list_models": "galmorph.pipeline",
    "load_model": "galmorph.pipeline",
    "partition": "galmorph.frames",
    "read_cutout": "galmorph.api",
    "report": "galmorph.pages.report",
    "search": "galmorph.neighbours.search",
    "write_table": "galmorph.tables.writers",
}


def __getattr__(name: str) -> Any:
    # Lazily, so that importing galmorph costs nothing.
    if name == "__version__":
        from importlib.metadata import version

        return version("galmorph")
    if name not in _HOMES:
        raise AttributeError(f"module 'galmorph' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
