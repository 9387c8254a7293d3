"""A model used in threads, in asyncio, and in processes; shared with benchmarks/attack.py."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.model import Model

THREADS = 8
WAIT_S = 120

Embeddings = npt.NDArray[np.float32]
Use = Callable[[Model, list[str]], list[Embeddings]]


def embed(model: Model, files: list[str]) -> Embeddings:
    """As a user would, and always with the same settings."""
    return model.embed(files, device="cpu", workers=2, progress=False, batch_size=4)


def use_threads(model: Model, files: list[str]) -> list[Embeddings]:
    """In eight threads at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda _: embed(model, files), range(THREADS)))


def use_asyncio(model: Model, files: list[str]) -> list[Embeddings]:
    """In four tasks of asyncio."""

    async def run() -> list[Embeddings]:
        return await asyncio.gather(*(asyncio.to_thread(embed, model, files) for _ in range(4)))

    return asyncio.run(run())


def _send(pipe: Any, model: Model, files: list[str]) -> None:
    pipe.send(embed(model, files))


def _use_process(method: str, model: Model, files: list[str]) -> list[Embeddings]:
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=_send, args=(there, model, files))
    process.start()
    there.close()
    try:
        assert here.poll(WAIT_S), "it hangs"
        return [here.recv()]
    finally:
        process.kill()
        process.join()


def use_fork(model: Model, files: list[str]) -> list[Embeddings]:
    """In a process forked from one that has used it."""
    return _use_process("fork", model, files)


def use_spawn(model: Model, files: list[str]) -> list[Embeddings]:
    """In a new process, which gets it pickled."""
    return _use_process("spawn", model, files)


class _Batches:
    """A data set whose items are embeddings."""

    def __init__(self, model: Model, files: list[str]) -> None:
        self.model, self.files = model, files

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Embeddings:
        return embed(self.model, self.files)


def use_data_loader(model: Model, files: list[str]) -> list[Embeddings]:
    """In the two workers of a DataLoader."""
    from torch.utils.data import DataLoader

    loader = DataLoader(_Batches(model, files), batch_size=None, num_workers=2, timeout=WAIT_S)
    return [np.asarray(batch) for batch in loader]


USES: dict[str, Use] = {
    "eight threads": use_threads,
    "asyncio": use_asyncio,
    "fork": use_fork,
    "spawn": use_spawn,
    "DataLoader": use_data_loader,
}


def write_files(folder: Path) -> list[str]:
    """JPEG, which threads read, and FITS, which processes read."""
    from synthetic import make_flux, write_fits, write_jpeg

    for number in range(4):
        write_jpeg(folder / f"{number}.jpg", side=100, seed=number)
        flux = make_flux(("g", "r", "z"), side=60)
        write_fits(folder / f"{number}.fits", flux * (1 + number), BANDS="grz")
    return sorted(str(path) for path in folder.iterdir())


def compare(use: Use, model: Model, files: list[str], seconds: float) -> tuple[int, int]:
    """How many embeddings of the whole list were made within that time; how many were others."""
    expected = embed(model, files)
    made = others = 0
    end = time.monotonic() + seconds
    while not made or time.monotonic() < end:
        found = use(model, files)
        made += len(found)
        others += sum(not np.array_equal(one, expected) for one in found)
    return made, others
