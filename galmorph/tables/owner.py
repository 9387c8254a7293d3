"""One writer of a partial result, on any file system: an exclusive file that its owner keeps alive.

No locks of the system, which many network file systems do not have. The age of the file is
measured by their clock, against one that has just been made there.
"""

import json
import logging
import os
import platform
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from galmorph.errors import ResumeError

BEAT_S = 10.0
STALE_S = 120.0  # without a heartbeat an owner on another machine is taken for dead
_TRIES = 10
_held: set[str] = set()  # tokens of this process's own
_logger = logging.getLogger(__name__)


class Owner:
    """The right to write a partial result, from now until `release`."""

    def __init__(self, partial: Path) -> None:
        self._partial, self._path = partial, Path(f"{partial}.owner")
        self._token = uuid.uuid4().hex
        self._claim()
        _held.add(self._token)
        self._stop = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _claim(self) -> None:
        mine = Path(f"{self._path}.{self._token[:8]}")
        record = {"token": self._token, "host": platform.node(), **_identify(os.getpid())}
        try:
            for _ in range(_TRIES):
                mine.write_text(json.dumps(record))
                if _link(mine, self._path):
                    return
                with suppress(FileNotFoundError):  # it has just been given back
                    self._take_over(_read(self._path), mine)
        finally:
            mine.unlink(missing_ok=True)
        raise ResumeError(f"{self._partial}: another process is writing this result")

    def _take_over(self, other: dict[str, Any], mine: Path) -> None:
        age = mine.stat().st_mtime - self._path.stat().st_mtime
        who = f"process {other.get('process')} on {other.get('host')}"
        if not _is_gone(other) and age < STALE_S:
            raise ResumeError(
                f"{self._partial}: another process is writing this result ({who}); if it is "
                f"gone for certain, delete {self._path.name}"
            )
        aside = self._path.rename(f"{mine}.stale")
        if _read(aside) == other:
            _logger.warning("%s: taken over from %s, which is gone", self._partial, who)
        else:  # another process has been faster
            _link(aside, self._path)
        aside.unlink()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(OSError):
                if self._is_mine():
                    os.utime(self._path)

    def _is_mine(self) -> bool:
        with suppress(FileNotFoundError):
            return _read(self._path).get("token") == self._token
        return False

    def check(self) -> None:
        """Make sure that no other process has taken over."""
        if not self._is_mine():
            raise ResumeError(
                f"{self._partial}: another process is writing this result, which it took over; "
                "this run writes no more"
            )

    def release(self) -> None:
        """Let others write."""
        self._stop.set()
        _held.discard(self._token)
        with suppress(OSError):
            if self._is_mine():
                self._path.unlink()


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name unless that is taken; where there are no links, copy it."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError:  # FAT and some network file systems
        with suppress(FileExistsError), target.open("x") as file:
            file.write(source.read_text())
            return True
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    """What an ownership file says; nothing where it is being written or torn."""
    with suppress(ValueError):
        return dict(json.loads(path.read_text()))
    return {}


def _identify(process: int) -> dict[str, Any]:
    """A process, beyond its number: that comes again, and in every container."""
    machine, started = "", ""
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        machine = f"{boot} {os.readlink('/proc/self/ns/pid')}"
        state, *facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        started = "" if state in "ZX" else facts[18]
    return {"process": process, "machine": machine, "started": started}


def _is_gone(record: dict[str, Any]) -> bool:
    """Whether its process has ended for certain, which only the same machine can tell."""
    here = _identify(record.get("process", 0))
    if not here["machine"] or record.get("machine") != here["machine"]:
        return False
    if here["process"] == os.getpid():
        return record.get("token") not in _held
    return bool(here["started"] != record.get("started"))
