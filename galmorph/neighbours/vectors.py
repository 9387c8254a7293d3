"""Embeddings in float16, kept beside the result and mapped from there, and exact search in them."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.inference.cores import one_thread
from galmorph.saved import SavedRun
from galmorph.tables.formats.arrays import write_header
from galmorph.writing import put_in_place

ROWS_AT_ONCE = 1024  # they stay in the cache of a core, as float32
ROWS_MAPPED = 64 * ROWS_AT_ONCE  # rows after which memory is given back
EDGE_BYTES = 1 << 20  # at both ends of a file; with size and time they tell if it has changed
# By the sha256 of a model file, the matrix that embeddings are multiplied by before they are
# compared; made by tools/make_weighting.py, see docs/notes/search.md.
WEIGHTINGS = Path(__file__).with_name("weightings.safetensors")

Vectors = npt.NDArray[np.float16]
Weighting = npt.NDArray[np.float32]


def to_unit(embeddings: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Rows of length 1, (n, d); NaN where an embedding is NaN or nothing."""
    rows = np.asarray(embeddings, dtype=np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def load_weighting(run: SavedRun) -> Weighting | None:
    """Matrix (num_features, k) for the model of a result; None where there is none."""
    from safetensors.numpy import load_file

    found = load_file(WEIGHTINGS).get(run.provenance.get("model_sha256", ""))
    if found is None or len(found) != run.num_features:  # the table may be anybody's
        return None
    return found.astype(np.float32)


def apply_weighting(embeddings: npt.NDArray[Any], weighting: Weighting | None) -> npt.NDArray[Any]:
    """Embeddings (n, num_features) as they are compared, (n, k)."""
    return embeddings if weighting is None else to_unit(embeddings @ weighting)


def map_embeddings(run: SavedRun, weighting: Weighting | None = None) -> Vectors:
    """Embeddings of a result, or what is compared of them, mapped from a file that is made once.

    In memory where the result is a table or where nothing can be written beside it.
    """
    place = find_place(run, weighting)
    if place is None:
        return np.concatenate([*_list_vectors(run, weighting)])
    if not place.is_file():
        try:
            _write(run, place, weighting)
        except OSError:
            return np.concatenate([*_list_vectors(run, weighting)])
    with suppress(ValueError):  # an empty result cannot be mapped
        mapped: Vectors = np.load(
            place, mmap_mode="c"
        )  # torch warns of arrays that cannot be written
        return mapped
    return np.load(place)  # type: ignore[no-any-return]


def find_place(run: SavedRun, weighting: Weighting | None = None) -> Path | None:
    """Where the vectors of this state of a result are kept; None for a table."""
    if run.path is None:
        return None
    told = b"" if weighting is None else weighting.tobytes()
    name = f"{run.path.name}.{_digest(run.path, told)}{_get_suffix(weighting)}"
    return run.path.absolute().parent / name


def _get_suffix(weighting: Weighting | None) -> str:
    return ".embeddings.npy" if weighting is None else ".compared.npy"


def _list_vectors(run: SavedRun, weighting: Weighting | None) -> Iterator[Vectors]:
    import torch  # turns float32 into float16 and back five times sooner than numpy

    width = run.num_features if weighting is None else weighting.shape[1]
    yield np.empty((0, width), dtype=np.float16)
    with one_thread():  # more would fight with those that read and write
        if weighting is None:
            for part in run.embeddings():
                yield torch.tensor(part, dtype=torch.float16).numpy()
            return
        for _, block in list_blocks(map_embeddings(run)):
            product = torch.from_numpy(block) @ torch.from_numpy(weighting)
            yield (product / product.norm(dim=1, keepdim=True)).half().numpy()


def _write(run: SavedRun, place: Path, weighting: Weighting | None) -> None:
    """Write the file whole or not at all, and remove what belongs to an earlier state."""
    assert run.path is not None
    vectors = _list_vectors(run, weighting)
    empty, count = next(vectors), 0
    with put_in_place(place) as temporary:
        with temporary.open("wb") as file, ThreadPoolExecutor(1) as beside:
            written: Future[Any] = beside.submit(write_header, file, empty.shape, empty.dtype)
            for part in vectors:  # the next is read while one is written
                written.result()
                written = beside.submit(file.write, part)  # type: ignore[arg-type]
                count += len(part)
            written.result()
            file.seek(0)  # the header has room for any count
            write_header(file, (count, empty.shape[1]), empty.dtype)
        for old in place.parent.glob(f"{run.path.name}.*{_get_suffix(weighting)}*"):
            old.unlink()


def _digest(path: Path, more: bytes) -> str:
    """What tells the content of a file, or of those in a folder, from that of another time."""
    digest = hashlib.sha256(more)
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if each.is_file():
            status = each.stat()
            digest.update(f"{each.name} {status.st_size} {status.st_mtime_ns}".encode())
            with each.open("rb") as file:
                digest.update(file.read(EDGE_BYTES))
                file.seek(max(status.st_size - EDGE_BYTES, 0), os.SEEK_SET)
                digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()[:16]


def compute_similarity(
    vectors: Vectors, queries: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Cosines of all rows with unit vectors, (n, d) and (q, d) to (n, q); NaN without."""
    return multiply(vectors, queries.T, unit=True)


def multiply(
    vectors: Vectors, matrix: npt.NDArray[np.float32], *, unit: bool = False
) -> npt.NDArray[np.float32]:
    """All rows, of length 1 where `unit`, times a matrix: (n, d) and (d, k) to (n, k)."""
    import torch

    right = torch.from_numpy(np.ascontiguousarray(matrix)).squeeze(1)  # one vector is sooner
    found = np.empty((len(vectors), matrix.shape[1]), dtype=np.float32)
    with one_thread():  # blocks so small are slower with threads that wait for each other
        for rows, block in list_blocks(vectors):
            part = torch.from_numpy(block)
            product = (part @ right).reshape(len(part), -1)
            found[rows] = product / part.norm(dim=1, keepdim=True) if unit else product
    return found


def list_blocks(
    vectors: Vectors, rows: int = ROWS_AT_ONCE
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Parts of the rows in float32; of a mapped file little stays in memory."""
    import torch

    for part, block in list_parts(vectors, rows):
        yield part, torch.from_numpy(block).float().numpy()


def list_parts(vectors: Vectors, rows: int = ROWS_MAPPED) -> Iterator[tuple[slice, Vectors]]:
    """The same as they are."""
    whole, mapped = vectors.view(np.ndarray), getattr(vectors, "_mmap", None)
    for start in range(0, len(vectors), rows):
        part = slice(start, min(start + rows, len(vectors)))
        yield part, whole[part]
        if start % ROWS_MAPPED == 0 and mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # else the system keeps the pages
