"""What the benchmarks share: the machine in words, repeated runs, tables, images, models."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

LIBRARIES = ("torch", "numpy", "pillow", "onnxruntime", "astropy")


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs of the same work on ``count`` images."""

    seconds: tuple[float, ...]
    count: int

    @property
    def rate(self) -> float:
        """Images per second, of the median run."""
        return self.count / statistics.median(self.seconds)

    def __str__(self) -> str:
        low, high = self.count / max(self.seconds), self.count / min(self.seconds)
        return f"{self.rate:8.1f} images/s  ({low:.1f} to {high:.1f})"


def measure(
    work: Callable[[], Any], count: int, *, runs: int = 3, warm: bool = True, cpu: bool = False
) -> Timing:
    """Time some work several times, after one run that is not counted.

    ``cpu`` takes the processor time of this process, which other work on the machine disturbs
    less; only for work in a single thread.
    """
    clock = time.process_time if cpu else time.perf_counter
    if warm:
        work()
    seconds = []
    for _ in range(runs):
        began = clock()
        work()
        seconds.append(clock() - began)
    return Timing(tuple(seconds), count)


def _find_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    wide = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{names[0] if names else platform.machine()} ({', '.join(wide)})"


def _find_version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def print_machine() -> None:
    """Print the machine, the versions, and how busy the machine was before."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    libraries = ", ".join(_find_version(name) for name in LIBRARIES)
    print(f"machine   {_find_processor()}, {cores} cores")
    print(f"versions  Python {platform.python_version()}, {libraries}")
    print(f"load      {', '.join(f'{v:.2f}' for v in os.getloadavg())} (1, 5, 15 minutes before)")
    print()


def print_rows(title: str, rows: Iterable[Sequence[str]]) -> None:
    """Print a title and aligned columns."""
    table = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    print(title)
    for row in table:
        print("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
    print(flush=True)


def make_parser(description: str | None, *, images: int) -> argparse.ArgumentParser:
    """Options that every script has."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=images, help="number of files")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("GALMORPH_DATA", ROOT / ".." / "shared" / "data")),
        help="folder that holds gz2/test; simulated galaxies where it is absent",
    )
    return parser


def find_files(data: Path, count: int, folder: Path) -> list[Path]:
    """``count`` JPEG files of 424 px: real ones, or simulated ones written to ``folder``."""
    files = sorted((data / "gz2" / "test").rglob("*.jpg"))
    if not files:
        print("no real images: simulated ones instead (see --data)")
        files = _simulate(folder, min(count, 100))
    step = max(1, len(files) // count)
    chosen = files[::step][:count]
    return [chosen[i % len(chosen)] for i in range(count)]


def _simulate(folder: Path, count: int) -> list[Path]:
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[:424, :424] - 211.5
    paths = []
    for i in range(count):
        rng = np.random.default_rng(i)
        disk = np.exp(-np.hypot(x, y / rng.uniform(0.3, 1)) / rng.uniform(15, 50))
        noise = rng.normal(12, 4, (424, 424, 3))
        pixels = np.clip(200 * disk[:, :, None] + noise, 0, 255).astype(np.uint8)
        paths.append(folder / f"simulated_{i:03d}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=92)
    return paths


def make_model(architecture: str) -> Any:
    """A model with random weights: speed does not depend on their values."""
    import numpy as np
    import torch

    from galmorph.encoders.registry import create_encoder
    from galmorph.heads import LinearHead
    from galmorph.model import Model
    from galmorph.preprocessing.pipeline import Preprocessing
    from galmorph.typicality import fit_typicality

    torch.manual_seed(0)
    encoder = create_encoder(architecture).eval().requires_grad_(False)
    rng, width = np.random.default_rng(0), int(encoder.num_features)
    weight = rng.normal(size=(5, width)).astype(np.float32)
    names = ("round", "in_between", "cigar", "edge_on", "spiral")
    head = LinearHead("gz2", names, weight, weight[:, 0].copy())
    normalization = Preprocessing(mean=(0.04, 0.04, 0.03), std=(0.09, 0.07, 0.06))
    typicality = fit_typicality(rng.normal(size=(8000, width)).astype(np.float32))
    return Model(architecture, architecture, encoder, normalization, {"gz2": head}, typicality)


def to_onnx(model: Any) -> Any:
    """The same model for onnxruntime."""
    from galmorph.encoders.onnx_encoder import make_onnx_encoder

    tensors = {f"encoder.{k}": v.numpy() for k, v in model.encoder.state_dict().items()}
    steps = model.preprocessing
    encoder = make_onnx_encoder(model.architecture, tensors, mean=steps.mean, std=steps.std)
    return replace(model, encoder=encoder)


class ProcessorClock:
    """Seconds that pass, and those of the processor: of this process and of all that read."""

    def __enter__(self) -> ProcessorClock:
        self._used: dict[str, float] = {}
        self._files: dict[str, int] = {}  # kept open: this clock runs on the cores it measures
        self._look()
        self._before = time.perf_counter(), time.process_time(), sum(self._used.values())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking)
        self._thread.start()
        return self

    def _keep_looking(self) -> None:
        while not self._stop.wait(0.02):
            self._look()

    def _look(self) -> None:
        from galmorph.inference import processes

        for nursery in processes._nurseries.values():
            pid = str(nursery._process.pid)
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                for one in (pid, *children):
                    if one not in self._files:
                        self._files[one] = os.open(f"/proc/{one}/schedstat", os.O_RDONLY)
                    self._used[one] = int(os.pread(self._files[one], 64, 0).split()[0]) / 1e9

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for file in self._files.values():
            os.close(file)
        passed, own, others = self._before
        self.passed = time.perf_counter() - passed
        self.processor = time.process_time() - own + sum(self._used.values()) - others
