"""The command galmorph, for which files named sleep*, abort* or eat* are `hostile`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hostile import Hostile

from galmorph.cli.main import main
from galmorph.images.files import ImageFile
from galmorph.images.source import Source
from galmorph.inputs import Inputs

HOSTILE = ("sleep", "abort", "eat")

_list_sources = Inputs.list_sources


def list_sources(inputs: Inputs, *given: Any) -> Iterator[Source]:
    """Those of the folder, some of them replaced."""
    for source in _list_sources(inputs, *given):
        hostile = isinstance(source, ImageFile) and Path(source.path).name.startswith(HOSTILE)
        yield Hostile(source.object_id, source.path) if hostile else source


if __name__ == "__main__":
    Inputs.list_sources = list_sources  # type: ignore[method-assign]
    sys.exit(main())
