"""Ctrl-C and SIGTERM, once, twice and together: soon, one sentence, no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from inference_model import make_model
from synthetic import make_flux, write_fits, write_jpeg

from galmorph.model import write_model
from galmorph.tables.journal import partial_path

ROOT = Path(__file__).resolve().parents[2]
INT, TERM = signal.SIGINT, signal.SIGTERM

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand names of two files."""
    top = tmp_path_factory.mktemp("leaving")
    write_model(top / "m.safetensors", make_model())
    jpeg, flux = write_jpeg(top / "a.jpg", side=100), top / "a.fits"
    write_fits(flux, make_flux(side=60), BANDS="grz")
    (top / "in").mkdir()
    for number in range(5000):
        (top / "in" / f"{number:05d}.jpg").hardlink_to(jpeg)
        (top / "in" / f"{number:05d}.fits").hardlink_to(flux)
    return top


@pytest.mark.parametrize(
    ("signals", "status"),
    [((INT,), 130), ((TERM,), 143), ((INT, INT, INT), 130), ((INT, TERM), 130), ((TERM, INT), 143)],
)
def test_it_ends_soon_and_says_once_what_was_kept(
    folder: Path, tmp_path: Path, signals: tuple[signal.Signals, ...], status: int
) -> None:
    out = tmp_path / "t.csv"
    command = [sys.executable, "-m", "galmorph", "classify", str(folder / "in"), "-o", str(out)]
    command += ["--model", str(folder / "m.safetensors"), "--head", "test", "--device", "cpu"]
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(
        [*command, "--batch-size", "4", "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **heed,  # type: ignore[call-overload]
    )
    deadline = time.monotonic() + 120
    while not (partial_path(out).exists() and partial_path(out).stat().st_size > 4000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.02)
    _, said = process.communicate(timeout=30)
    assert process.returncode == status
    assert said.count("rows are kept") == 1
    for word in ("Traceback", "terminate called", "ignored", "Fatal"):
        assert word not in said
