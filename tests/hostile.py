"""Files whose reading does what none should; a module of its own, which processes can import."""

from __future__ import annotations

import os
import time

from galmorph.images.cutout import Cutout
from galmorph.images.files import ImageFile
from galmorph.settings import ReadOptions

HOSTILE_STEP_BYTES = 1 << 24
WORK_S = 0.5
_held: list[bytearray] = []


class Hostile(ImageFile):
    """Its identifier says what it does: abort, sleep, wait for ``path.go``, work, eat memory."""

    __slots__ = ()

    def read(self, options: ReadOptions) -> Cutout:
        if self.object_id.startswith("abort"):
            os.abort()
        while self.object_id.startswith("wait") and not os.path.exists(f"{self.path}.go"):
            time.sleep(0.1)
        if self.object_id.startswith("wait"):
            return ImageFile.read(self, options)
        if self.object_id.startswith("work"):
            end = time.process_time() + WORK_S
            while time.process_time() < end:
                pass
            with open(f"{self.path}.done", "a", encoding="ascii") as file:
                print(os.getpid(), file=file)
            return ImageFile.read(self, options)
        while self.object_id.startswith("eat"):
            _held.append(bytearray(HOSTILE_STEP_BYTES))
            with open(f"{self.path}.held", "w", encoding="ascii") as file:
                file.write(str(len(_held) * HOSTILE_STEP_BYTES))
        time.sleep(600)
        raise AssertionError
