"""An index of many embeddings, by faiss: built once, kept beside the result, used until it changes.

Compressed vectors name candidates, which `find_nearest` compares exactly.
"""

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.images.library import import_extra
from galmorph.neighbours.vectors import Vectors, list_blocks, to_unit
from galmorph.writing import put_in_place

MANY_ROWS = 1_000_000  # more rows are searched by an index where faiss is installed
DIMENSIONS = 128  # principal components that are indexed; each pair takes half a byte
CELLS, LOOKED_INTO = 1024, 96  # parts of the space, and how many of them a query looks into
ROWS_A_CELL = 40  # for training; of fewer faiss warns
CANDIDATES = 40  # for each galaxy that is wanted
BLOCK = 65_536


def has_faiss() -> bool:
    """Whether the extra ``search`` is installed."""
    return importlib.util.find_spec("faiss") is not None


def open_index(vectors: Vectors, beside: Path | None) -> Any:
    """Read the index from beside the file of the embeddings, or build it and write it there."""
    faiss = import_extra("faiss", "search", "for an index", "faiss-cpu")
    place = beside and beside.with_name(f"{beside.name}.faiss")
    if place and place.is_file():
        return faiss.read_index(str(place))
    index = _build(vectors)
    if place:
        with suppress(OSError, RuntimeError), put_in_place(place) as temporary:
            faiss.write_index(index, str(temporary))  # where that fails, next time again
    return index


def _build(vectors: Vectors) -> Any:
    import faiss

    width = min(DIMENSIONS, vectors.shape[1] // 2 * 2)
    cells = max(1, min(CELLS, len(vectors) // ROWS_A_CELL))
    index = faiss.index_factory(
        vectors.shape[1], f"PCA{width},IVF{cells},PQ{width // 2}x4fs", faiss.METRIC_L2
    )
    faiss.extract_index_ivf(index).nprobe = LOOKED_INTO
    rng = np.random.default_rng(0)
    count = min(len(vectors), max(ROWS_A_CELL * cells, ROWS_A_CELL * 256))
    sample = to_unit(vectors[np.sort(rng.choice(len(vectors), count, replace=False))])
    index.train(sample[np.isfinite(sample[:, 0])])
    for rows, block in list_blocks(vectors, BLOCK):
        unit = to_unit(block)
        good = np.isfinite(unit[:, 0])
        index.add_with_ids(unit[good], np.arange(rows.start, rows.stop)[good])
    return index


def list_candidates(
    index: Any, query: npt.NDArray[np.float32], count: int
) -> npt.NDArray[np.int64]:
    """Rows that may be among the nearest of a unit vector (d,), ascending."""
    wanted = min(CANDIDATES * count, index.ntotal)
    found = index.search(np.ascontiguousarray(query[None]), wanted)[1][0]
    return np.sort(found[found >= 0])
