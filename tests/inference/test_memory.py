"""Memory that is given back is kept for the next image."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from galmorph.inference.cores import keep_freed_memory

COUNT_FAULTS = """
import resource
import numpy as np
from galmorph.inference.cores import keep_freed_memory

if {kept}:
    assert keep_freed_memory(everything={everything})
np.ones({size}, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones({size} // 3, np.uint8)
    np.ones({size} // 2, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="glibc alone"
)


@linux
@pytest.mark.parametrize(("everything", "size"), [(False, 12_000_000), (True, 180_000_000)])
def test_pages_are_touched_once(everything: bool, size: int) -> None:
    def count_faults(kept: bool) -> int:
        script = COUNT_FAULTS.format(kept=kept, everything=everything, size=size)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        return int(done.stdout)

    assert count_faults(kept=True) < 50 < count_faults(kept=False)


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False
