"""A source that does what none should; in a module of its own, so that processes can import it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from galmorph.images.cutout import Cutout
from galmorph.settings import ReadOptions

_held: list[bytearray] = []


@dataclass(frozen=True, slots=True)
class Hostile:
    """Its identifier says what it does: abort, sleep, or eat all memory."""

    object_id: str
    address: str = "hostile"
    columns: Mapping[str, Any] = field(default_factory=dict)

    def read(self, options: ReadOptions) -> Cutout:
        if self.object_id.startswith("abort"):
            os.abort()
        while self.object_id.startswith("eat"):
            _held.append(bytearray(1 << 27))
        time.sleep(600)
        raise AssertionError

    def read_head(self, count: int) -> bytes:
        return b""
