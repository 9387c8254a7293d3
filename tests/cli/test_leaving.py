"""Ctrl-C and SIGTERM, once, twice and together: soon, one sentence, no traceback."""

from __future__ import annotations

import os
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


def start(script: list[str], folder: Path, out: Path) -> subprocess.Popen[str]:
    """The command at work, with rows in its partial result."""
    command = [sys.executable, *script, "classify", str(folder), "-o", str(out), "--head", "test"]
    command += ["--model", str(folder.parent / "m.safetensors"), "--device", "cpu"]
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(
        [*command, "--batch-size", "4", "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        **heed,  # type: ignore[call-overload]
    )
    deadline = time.monotonic() + 120
    while not (partial_path(out).exists() and partial_path(out).stat().st_size > 4000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process


def check_end(process: subprocess.Popen[str], status: int) -> None:
    _, said = process.communicate(timeout=30)
    assert process.returncode == status
    assert said.count("rows are kept") == 1
    for word in ("Traceback", "terminate called", "ignored", "Fatal"):
        assert word not in said


@pytest.mark.parametrize(
    ("signals", "status"),
    [((INT,), 130), ((TERM,), 143), ((INT, INT, INT), 130), ((INT, TERM), 130), ((TERM, INT), 143)],
)
def test_it_ends_soon_and_says_once_what_was_kept(
    folder: Path, tmp_path: Path, signals: tuple[signal.Signals, ...], status: int
) -> None:
    process = start(["-m", "galmorph"], folder / "in", tmp_path / "t.csv")
    for number in signals:
        process.send_signal(number)
        time.sleep(0.02)
    check_end(process, status)


@pytest.mark.parametrize(
    ("signals", "status", "seconds"),
    [((TERM,), 143, 5), ((INT, INT, INT), 130, 1)],
)
def test_it_ends_while_readers_are_asleep(
    folder: Path, tmp_path: Path, signals: tuple[signal.Signals, ...], status: int, seconds: float
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "m.safetensors").hardlink_to(folder / "m.safetensors")
    for name in (*(f"{n:02d}" for n in range(60)), "sleep0", "sleep1", "sleep2", "z"):
        (tmp_path / "in" / f"{name}.fits").hardlink_to(folder / "a.fits")
    script = [str(ROOT / "tests" / "hostile_command.py")]
    process = start(script, tmp_path / "in", tmp_path / "t.csv")
    time.sleep(1)  # the rest is done, and three processes are asleep
    for number in signals:
        process.send_signal(number)
        time.sleep(0.05)
    began = time.monotonic()
    process.wait(30)
    assert time.monotonic() - began < seconds + 0.5
    check_end(process, status)
