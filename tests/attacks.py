"""Attacks on results, runs and readers, each counted by how it ended; shared with benchmarks/.

An outcome that begins with BROKEN is a promise that does not hold.
"""

from __future__ import annotations

import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import GalmorphError
from tests.tables import slow_writer

ROOT = Path(__file__).resolve().parents[1]
FORMATS = (".csv", ".ecsv", ".fits", ".vot", ".parquet", ".jsonl")
ROWS = 1280
PAUSE_S = 0.02
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

Counts = Counter[str]


def write_whole(path: Path, rows: int = ROWS) -> bytes:
    """A result by a run that nothing disturbs."""
    with slow_writer.open_run(path, rows) as writer:
        slow_writer.write_rest(writer, rows, 0)
    return path.read_bytes()


def start_writer(path: Path, *, stale_s: float = 120.0) -> subprocess.Popen[str]:
    """A process that writes it, with ``resume``; and how soon it takes others for dead."""
    return subprocess.Popen(
        [sys.executable, slow_writer.__file__, str(path), str(ROWS), str(PAUSE_S), str(stale_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        text=True,
    )


def _judge(path: Path, whole: bytes, good: str) -> str:
    left = sorted(entry.name for entry in path.parent.iterdir())
    if path.read_bytes() != whole:
        return "BROKEN another table"
    return good if left == [path.name] else f"BROKEN files are left over: {left}"


def _finish(path: Path, whole: bytes) -> str:
    """How the result is once a run has been let finish."""
    if not path.exists():
        slow_writer.write_rest(slow_writer.open_run(path, ROWS), ROWS, 0)
    return _judge(path, whole, "the same table in the end")


def kill_writers(folder: Path, suffix: str, tries: int, dice: random.Random) -> Counts:
    """Signals at random moments to runs that resume; then one that is let finish."""
    counts: Counts = Counter()
    whole = write_whole(folder / f"whole{suffix}")
    path = folder / "run" / f"out{suffix}"
    path.parent.mkdir()
    for _ in range(tries):
        child = start_writer(path)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(dice.uniform(0, ROWS / slow_writer.BLOCK * PAUSE_S * 0.6))
        child.send_signal(dice.choice(SIGNALS))
        child.communicate()
        if path.exists():
            counts[_judge(path, whole, "the same table in the end")] += 1
            path.unlink()
        elif child.returncode:
            counts["ended, its rows kept"] += 1
        else:
            counts["BROKEN no table"] += 1
    counts[_finish(path, whole)] += 1
    return counts


@contextmanager
def limit_files(size: int) -> Iterator[None]:
    """No file may be larger: for who writes the same as a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def fill_disk(folder: Path, suffix: str, tries: int, dice: random.Random) -> Counts:
    """Disks that are full after so many bytes; then room, and the same run once more."""
    counts: Counts = Counter()
    whole = write_whole(folder / f"whole{suffix}")
    path = folder / "run" / f"out{suffix}"
    path.parent.mkdir()
    for _ in range(tries):
        try:
            with limit_files(dice.randrange(200, len(whole) * 2)):
                slow_writer.write_rest(slow_writer.open_run(path, ROWS), ROWS, 0)
        except GalmorphError as error:
            counts["one sentence" if "\n" not in str(error) else "BROKEN message"] += 1
        except Exception as error:
            counts[f"BROKEN {type(error).__name__}: {error}"] += 1
        counts[_finish(path, whole)] += 1
        path.unlink()
    return counts


def race_writers(folder: Path, tries: int, dice: random.Random) -> Counts:
    """Three runs at once with ``resume`` on one result, one of them killed."""
    counts: Counts = Counter()
    whole = write_whole(folder / "whole.csv")
    path = folder / "run" / "out.csv"
    path.parent.mkdir()
    for _ in range(tries):
        children = [start_writer(path) for _ in range(3)]
        time.sleep(dice.uniform(0, 1))
        dice.choice(children).kill()
        for child in children:
            _, said = child.communicate()
            last = said.strip().rpartition("\n")[2]
            if child.returncode in (0, -signal.SIGKILL):
                counts["wrote, or was killed"] += 1
            elif "another process" in last:
                counts["refused in one sentence"] += 1
            else:
                counts[f"BROKEN {last}"] += 1
        counts[_finish(path, whole)] += 1
        path.unlink()
    return counts


def stop_writers(folder: Path, tries: int, dice: random.Random) -> Counts:
    """A run is stopped so long that another one takes over and ends, and then goes on."""
    counts: Counts = Counter()
    whole = write_whole(folder / "whole.csv")
    path = folder / "run" / "out.csv"
    path.parent.mkdir()
    for _ in range(tries):
        first = start_writer(path)
        assert first.stdout is not None
        first.stdout.readline()
        time.sleep(dice.uniform(0, ROWS / slow_writer.BLOCK * PAUSE_S * 0.4))
        first.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        second = start_writer(path, stale_s=0.3)
        _, said = second.communicate()
        first.send_signal(signal.SIGCONT)
        _, late = first.communicate()
        if second.returncode or "taken over from process" not in said:
            counts[f"BROKEN the second: {said.strip().rpartition(chr(10))[2]}"] += 1
        elif "which it took over" in late:
            counts["the first one wrote no more, and said why"] += 1
        else:
            counts[f"BROKEN the first: {late.strip().rpartition(chr(10))[2]}"] += 1
        counts[_judge(path, whole, "the same table in the end")] += 1
        path.unlink()
    return counts


class _Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def _write_pickles(folder: Path, sprung: Path) -> list[Path]:
    import torch

    array = np.array([_Trap(sprung)] * 3, dtype=object)
    np.save(folder / "a.npy", array, allow_pickle=True)
    np.savez(folder / "b.npz", images=array)
    np.savez(folder / "c.npz", images=np.zeros((3, 40, 40), np.uint8), object_id=array)
    torch.save({"state_dict": _Trap(sprung)}, folder / "d.pt")
    raw = pickle.dumps(_Trap(sprung))
    names = ("e.pkl", "f.safetensors", "g.fits", "h.jpg", "i.h5", "j.parquet", "k.onnx", "l.ckpt")
    for name in names:
        (folder / name).write_bytes(raw)
    return sorted(folder.iterdir())


def open_pickles(folder: Path) -> Counts:
    """Pickles under every name, read as cutouts, catalogues, models and heads."""
    from galmorph.images.discover import discover_sources
    from galmorph.images.read import read_cutout
    from galmorph.model import read_heads, read_model
    from galmorph.tables.catalogue import read_catalogue

    def read_all(path: Path) -> Sequence[Any]:
        return [read_cutout(source) for source in discover_sources(path)]

    def read_rows(path: Path) -> Sequence[Any]:
        return list(read_catalogue(path, path_column="file"))

    counts, sprung = Counter[str](), folder.parent / "sprung"
    for path in _write_pickles(folder, sprung):
        for read in (read_all, read_rows, read_model, read_heads):
            try:
                read(path)
                outcome = "read, without what is pickled"
            except GalmorphError:
                outcome = "refused in one sentence"
            except Exception as error:
                outcome = f"BROKEN {read.__name__} {path.name}: {type(error).__name__}"
            counts["BROKEN a pickle was opened" if sprung.exists() else outcome] += 1
    return counts


def damage_partial(folder: Path, tries: int, seed: int) -> Counts:
    """Random damages to a partial result, which is resumed."""
    from galmorph.tables import result_columns
    from galmorph.tables.columns import class_columns
    from tests.tables.damage import attack
    from tests.tables.table_cases import CARRIED

    specs = result_columns(class_columns(["smooth", "spiral"]), embedding_dim=3, carried=CARRIED)
    words = {"same": "the same table", "refused": "refused in one sentence"}
    found = attack(folder, specs, tries, seed=seed)
    return Counter({words.get(name, f"BROKEN {name}"): number for name, number in found.items()})
