"""Who may go on with an unfinished download, and what is said of failures of this machine."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from galmorph.weights import partial as module
from galmorph.weights.hub_errors import HubFileId, translate
from galmorph.weights.partial import claim_partial

FILE = HubFileId("https://hub.example", "galaxies/demo", "main", "demo.safetensors")


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def put(blob: Path, owner: str, content: bytes, age_s: float = 0.0) -> Path:
    path = blob.with_name(f"{blob.name}{owner}.incomplete")
    path.write_bytes(content)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def claimed(blob: Path) -> bytes | None:
    with claim_partial(blob) as own:
        return own.read_bytes() if own.exists() else None


@pytest.mark.parametrize(
    ("owner", "age_s", "taken"),
    [
        ("", 0, True),
        (f".{module._NODE}.{{dead}}.abc", 0, True),
        (f".{module._NODE}.{os.getpid()}.abc", 9999, False),
        (".0therone.123.abc", 0, False),
        (".0therone.123.abc", 120, True),
        (".1a2b3c4d", 9999, False),
    ],
    ids=["handed on", "dead", "alive", "elsewhere", "elsewhere, long ago", "huggingface_hub's own"],
)
def test_only_what_is_abandoned_is_taken_over(
    tmp_path: Path, owner: str, age_s: float, taken: bool
) -> None:
    blob = tmp_path / "blob"
    path = put(blob, owner.format(dead=dead_pid()), b"half", age_s)
    assert claimed(blob) == (b"half" if taken else None)
    assert path.exists() is (not taken or owner == "")


def test_the_longest_part_is_kept(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    put(blob, "", b"half")
    put(blob, f".{module._NODE}.{dead_pid()}.abc", b"more than half")
    assert claimed(blob) == b"more than half"
    assert [path.name for path in tmp_path.iterdir()] == ["blob.incomplete"]


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path / "other", "", b"half")
    assert claimed(tmp_path / "blob") is None


def test_what_is_left_goes_back_after_an_error(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    with pytest.raises(KeyboardInterrupt), claim_partial(blob) as own:
        own.write_bytes(b"first bytes")
        raise KeyboardInterrupt
    assert claimed(blob) == b"first bytes"


def test_a_full_disk_is_named() -> None:
    error = translate(OSError(errno.ENOSPC, "No space left on device", "/cache/blob"), FILE)
    assert "the disk of /cache/blob is full" in str(error)


def test_an_error_that_nobody_thought_of_keeps_its_name() -> None:
    error = translate(LookupError("odd"), FILE)
    assert str(error) == "demo.safetensors of galaxies/demo at main: LookupError: odd"
