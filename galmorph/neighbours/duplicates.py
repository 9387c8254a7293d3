"""Pairs of rows that are the same galaxy, by position or by looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import OptionError
from galmorph.neighbours.search import SIMILARITY, measure_distance
from galmorph.neighbours.vectors import compute_similarity, map_embeddings, to_unit
from galmorph.origin import describe_origin, hide_home
from galmorph.saved import SavedRun
from galmorph.tables.build import build_table
from galmorph.tables.columns import ColumnSpec

if TYPE_CHECKING:
    from astropy.table import Table

SAME_LOOKS = 0.99  # cosine from which two cutouts are called the same; see docs/notes/search.md
SAME_ARCSEC = 2.0  # cutouts with positions are the same where these lie nearer, and only there
MAX_ROWS = 200_000  # all pairs of more rows would take hours
ROWS_AT_ONCE = 1024

Pairs = npt.NDArray[np.int64]


def find_duplicates(
    run: Any, *, similarity: float = SAME_LOOKS, separation: float = SAME_ARCSEC
) -> Table:
    """Pairs of rows that are the same galaxy, the most similar first.

    Two rows with positions are so if these are within `separation` arcsec; others if the cosine of
    their embeddings is at least `similarity`.
    """
    saved = SavedRun(run)
    columns: Any = saved.columns(("object_id", "path", "ra", "dec"))
    count = len(columns["object_id"])
    ra, dec = (np.asarray(columns.get(name, np.full(count, np.nan))) for name in ("ra", "dec"))
    placed = np.isfinite(ra) & np.isfinite(dec)
    vectors = map_embeddings(saved)
    pairs = [*_list_near(ra, dec, separation), *_list_alike(vectors, placed, similarity)]
    first, second = np.concatenate([np.empty((0, 2), np.int64), *pairs]).T
    left, right = (to_unit(vectors[k]) for k in (first, second))
    found: dict[str, Any] = {
        "similarity": np.einsum("ij,ij->i", left, right),
        "separation": measure_distance(ra[first], dec[first], ra[second], dec[second]),
    }
    specs = [SIMILARITY, ColumnSpec("separation", "float64", "arcsec", "pos.angDistance")]
    for number, places in (("1", first), ("2", second)):
        for name in ("object_id", "path"):
            if name in columns:
                found[f"{name}_{number}"] = [columns[name][k] for k in places]
                specs.append(ColumnSpec(f"{name}_{number}", "str", "", saved.specs[name].ucd))
    asked = {"run": hide_home(saved.name), "similarity": similarity, "separation": separation}
    meta = {**saved.provenance, "duplicates": {**asked, **describe_origin("")}}
    table = build_table(specs, found, meta)
    return table[np.argsort(-found["similarity"], kind="stable")]


def _list_near(ra: Any, dec: Any, separation: float) -> Iterator[Pairs]:
    """Rows by declination, each with those that follow it until they are too far in that."""
    order = np.argsort(np.where(np.isfinite(ra), dec, np.nan), kind="stable")
    order = order[: int((np.isfinite(ra) & np.isfinite(dec)).sum())]
    limit = separation / 3600
    for step in range(1, len(order)):
        a, b = order[:-step], order[step:]
        close = dec[b] - dec[a] <= limit
        if not close.any():
            return
        a, b = a[close], b[close]
        same = measure_distance(ra[a], dec[a], ra[b], dec[b]) <= separation
        yield np.sort(np.stack((a[same], b[same]), axis=1), axis=1)


def _list_alike(vectors: Any, placed: Any, similarity: float) -> Iterator[Pairs]:
    """All pairs, block by block, but those of which both have positions."""
    if placed.all():
        return
    if len(vectors) > MAX_ROWS:
        raise OptionError(
            f"{len(vectors)} rows without positions are too many to compare all pairs by looks; "
            f"{MAX_ROWS} can be"
        )
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        block = to_unit(vectors[start : start + ROWS_AT_ONCE])
        cosine = compute_similarity(vectors[start:], block).T
        a, b = np.nonzero(np.triu(cosine >= similarity, 1))
        a, b = a + start, b + start
        kept = ~(placed[a] & placed[b])
        yield np.stack((a[kept], b[kept]), axis=1)
