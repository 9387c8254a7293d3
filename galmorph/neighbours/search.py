"""The galaxies of a result that are most like some examples."""

from __future__ import annotations

import importlib.util
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphWarning, OptionError
from galmorph.images.library import import_extra
from galmorph.model import Model
from galmorph.neighbours.vectors import (
    Vectors,
    Weighting,
    apply_weighting,
    compute_similarity,
    find_place,
    list_blocks,
    load_weighting,
    map_embeddings,
    to_unit,
)
from galmorph.origin import describe_origin, hide_home
from galmorph.pipeline import Pipeline, load_model
from galmorph.saved import SavedRun
from galmorph.tables.build import build_table
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.where import Where
from galmorph.thumbnails import Pictures
from galmorph.writing import put_in_place

if TYPE_CHECKING:
    from astropy.table import Table

MANY_ROWS = 1_000_000  # more rows are searched by an index where faiss is installed
DIMENSIONS = 128  # principal components that are indexed; each pair takes half a byte
CELLS, LOOKED_INTO = 1024, 96  # parts of the space, and how many of them a query looks into
ROWS_A_CELL = 40  # for training; of fewer faiss warns
ROWS_INDEXED = 1000  # of fewer an index cannot be learnt, nor gain anything
CANDIDATES = 40  # for each galaxy that is wanted
BLOCK = 65_536
RANK = ColumnSpec("rank", "int32", "", "meta.number", "1 for the most similar")
SIMILARITY = ColumnSpec(
    "similarity", "float32", "", "stat.correlation", "Cosine of its embedding and the examples'"
)
MATCH_ARCSEC = 5.0  # a position means the galaxy within this distance
_POSITION = re.compile(r"\s*(?P<ra>[0-9.]+)\s*[, ]\s*(?P<dec>[+-]?[0-9.]+)\s*")


def has_faiss() -> bool:
    """Whether the extra ``search`` is installed."""
    return importlib.util.find_spec("faiss") is not None


def open_index(vectors: Vectors, beside: Path | None) -> Any:
    """Read the index from beside the file of the embeddings, or build it; None for few rows."""
    faiss = import_extra("faiss", "search", "for an index", "faiss-cpu")
    place = beside and beside.with_name(f"{beside.name}.faiss")
    if place and place.is_file():
        return faiss.read_index(str(place))
    if len(vectors) < ROWS_INDEXED:
        return None
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


def search(
    run: Any,
    like: Any,
    *,
    unlike: Any = (),
    n: int = 50,
    where: str = "",
    model: Any = None,
    index: bool = False,
) -> Table:
    """Find the galaxies of a result that look most like some examples.

    Parameters
    ----------
    run : path or astropy.table.Table
        What ``classify`` (with the embedding) or ``embed`` gave.
    like, unlike : str, int, path, pair of float, or several of these
        Examples: an ``object_id`` of the result; a position, RA and Dec in degrees, within 5 arcsec
        of one; or an image file, which is embedded as the result was. Several are averaged, and
        those of `unlike` taken off.
    n : int
        Rows to give.
    where : str
        Which rows may be found, as ``"z < 0.1 and p_spiral > 0.5"``.
    model : str or path, optional
        The model that the result was made with, where that is a file of your own.
    index : bool
        Search by an index that is built once and kept beside the result, as is done for more than a
        million rows where the extra ``search`` is installed. With `where`, and of fewer than 1,000
        rows, all are compared.

    Returns
    -------
    astropy.table.Table
        ``rank``, ``similarity`` (a cosine, of embeddings weighted for this where their model is the
        default one) and the columns of the result but the embedding, the nearest first. Examples
        that are rows of the result are not among them.

    Raises
    ------
    CatalogueError
        The result cannot be read, or holds no embeddings.
    OptionError
        An example that is not there, an expression that cannot be computed, or another model.
    MissingExtraError
        An index is asked for, and faiss is not installed.
    """
    saved = run if isinstance(run, SavedRun) else SavedRun(run)
    wanted, unwanted = _list_examples(like), _list_examples(unlike)
    if not wanted:
        raise OptionError("give at least one example with --like")
    if n < 1:
        raise OptionError(f"n must be at least 1, not {n}")
    condition = Where(where) if where.strip() else None
    if condition is not None:
        condition.check(saved.specs)
    weighting = load_weighting(saved)
    vectors = map_embeddings(saved, weighting)
    if not saved.provenance.get("model_sha256"):
        said = f"{saved.name}: does not say by which model it was made, as a run in FITS or Parquet"
        said += " does; plain embeddings are compared, and others may come first"
        warnings.warn(said, GalmorphWarning, stacklevel=2)
    finder = _Finder(saved, vectors, weighting, model)
    query = finder.average(wanted) - (finder.average(unwanted) if unwanted else 0)
    chosen = None if condition is None else condition.choose(saved.columns(condition.names))
    indexed = index or (len(vectors) > MANY_ROWS and has_faiss())
    found = find_nearest(
        vectors,
        to_unit(query[None])[0],
        n,
        left_out=sorted(finder.used),
        chosen=chosen,
        index=open_index(vectors, find_place(saved, weighting))
        if indexed and chosen is None
        else None,
    )
    compared = "plain embeddings" if weighting is None else "weighted embeddings"
    asked = {"like": wanted, "unlike": unwanted, "where": where, "compared": compared}
    return _make_table(saved, *found, asked)


def find_nearest(
    vectors: Vectors,
    query: npt.NDArray[np.float32],
    n: int,
    *,
    left_out: Sequence[int] = (),
    chosen: npt.NDArray[np.bool_] | None = None,
    index: Any = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Rows of the largest cosines with a unit vector (d,), the largest first, and these."""
    if index is None:
        rows: npt.NDArray[np.int64] = np.arange(len(vectors))
        cosine = compute_similarity(vectors, query[None])[:, 0]
    else:
        rows = list_candidates(index, query, n + len(left_out))
        cosine = compute_similarity(vectors[rows], query[None])[:, 0]
    wanted = np.isfinite(cosine) & ~np.isin(rows, left_out)
    if chosen is not None:
        wanted &= chosen
    values = np.where(wanted, cosine, -np.inf)
    count = min(n, int(wanted.sum()))
    best = np.argpartition(-values, count - 1)[:count] if count else np.empty(0, dtype=np.int64)
    best = best[np.argsort(-values[best], kind="stable")]
    return rows[best], cosine[best]


def _list_examples(given: Any) -> list[str]:
    """One or several, each as text."""
    is_pair = isinstance(given, tuple) and len(given) == 2 and not isinstance(given[0], str)
    one = is_pair or not isinstance(given, Iterable) or isinstance(given, str)
    return [_spell(each) for each in ([given] if one else given)]


def _spell(example: Any) -> str:
    if isinstance(example, Iterable) and not isinstance(example, str):
        return ",".join(str(float(angle)) for angle in example)
    return os.fspath(example) if isinstance(example, os.PathLike) else str(example)


@dataclass
class _Finder:
    """Examples to unit vectors; `used` are those that are rows of the result."""

    saved: SavedRun
    vectors: Vectors
    weighting: Weighting | None
    model: Any
    used: set[int] = field(default_factory=set)

    def average(self, examples: Sequence[str]) -> npt.NDArray[np.float32]:
        """Mean of the examples, as the rows are compared."""
        files, vectors = list[str](), list[Any]()
        for example in examples:
            row = self._find_row(example)
            if row is None:
                files.append(example)
                continue
            if not np.isfinite(self.vectors[row]).all():
                name = self.saved.name
                raise OptionError(f"{example}: has no embedding in {name}, see its message")
            self.used.add(row)
            vectors.append(self.vectors[row])
        vectors += [*apply_weighting(self._embed(files), self.weighting)] if files else []
        return np.asarray(to_unit(np.array(vectors)).mean(axis=0))

    def _find_row(self, example: str) -> int | None:
        """The row of an identifier, a path or a position; None for a file that is to be read."""
        for name in ("object_id", "path"):
            if example in (values := list(self.saved.columns([name]).get(name, []))):
                if name == "object_id" and values.count(example) > 1:
                    raise OptionError(
                        f"{example!r} is the object_id of {values.count(example)} rows of "
                        f"{self.saved.name}; name one of them by its path"
                    )
                return values.index(example)
        position = _POSITION.fullmatch(example)
        if position is not None:
            return self._find_place(float(position["ra"]), float(position["dec"]))
        if os.path.exists(example):
            return None
        ids = self.saved.columns(["object_id"])["object_id"]
        near = get_close_matches(example, list(ids)[:100_000], 1)
        advice = f"; {near[0]!r} is one" if near else ""
        raise OptionError(
            f"{example!r} is no object_id of {self.saved.name}, no RA,DEC and no file{advice}"
        )

    def _find_place(self, ra: float, dec: float) -> int:
        columns: Mapping[str, Any] = self.saved.columns(("ra", "dec"))
        if len(columns) < 2 or not np.isfinite(columns["ra"]).any():
            raise OptionError(f"{self.saved.name}: holds no positions, so RA,DEC finds nothing")
        distance = measure_distance(columns["ra"], columns["dec"], ra, dec)
        nearest = int(np.nanargmin(distance))
        if distance[nearest] > MATCH_ARCSEC:
            raise OptionError(
                f"no galaxy of {self.saved.name} lies within {MATCH_ARCSEC:g} arcsec of {ra:g}, "
                f"{dec:g}; the nearest is {distance[nearest]:.4g} arcsec away"
            )
        return nearest

    def _embed(self, files: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed files as those of the result were."""
        from galmorph.images.ahead import bring_ahead
        from galmorph.images.discover import discover_sources
        from galmorph.inference.engine import Row

        pictures = Pictures.of(self.saved.provenance)
        model = load_model_of(self.saved.name, self.saved.provenance, self.model)
        pipeline = Pipeline(model, None, pictures.read, pictures.field, pictures.rendering)
        blocks = list(pipeline.run(bring_ahead(discover_sources(list(files)))))
        rows: list[Row] = [row for block in blocks for row in block.rows]
        failed = next((row for row in rows if row.error is not None), None)
        if failed is not None:
            raise OptionError(f"an example cannot be embedded: {failed.message}")
        return np.concatenate([block.embeddings for block in blocks])


def load_model_of(name: str, provenance: Mapping[str, Any], given: Any = None) -> Model:
    """The model that a result was made by, from the file given or by its name; no other one."""
    if not provenance.get("model_sha256"):
        raise OptionError(
            f"{name}: does not say by which model it was made, so nothing can be compared with it; "
            "use a format with provenance (.fits, .parquet, .ecsv, .npz)"
        )
    model = load_model(given or provenance["model"])
    if model.provenance.get("sha256") != provenance["model_sha256"]:
        raise OptionError(
            f"{name}: was made by other weights of {provenance['model']!r} than these; name their "
            "file with --model"
        )
    return model


def measure_distance(ra: Any, dec: Any, ra0: Any, dec0: Any) -> npt.NDArray[np.float64]:
    """Distances on the sky in arcsec, by the haversine formula."""
    a, d, a0, d0 = np.deg2rad(ra), np.deg2rad(dec), np.deg2rad(ra0), np.deg2rad(dec0)
    half = np.sin((d - d0) / 2) ** 2 + np.cos(d) * np.cos(d0) * np.sin((a - a0) / 2) ** 2
    return np.asarray(np.rad2deg(2 * np.arcsin(np.sqrt(half))) * 3600)


def _make_table(
    saved: SavedRun,
    rows: npt.NDArray[np.int64],
    similarity: npt.NDArray[np.float32],
    asked: Mapping[str, Any],
) -> Table:
    own = {spec.name: spec for spec in (RANK, SIMILARITY)}
    columns = {name: v for name, v in saved.rows(rows.tolist()).items() if name not in own}
    found = {"rank": np.arange(1, len(rows) + 1, dtype=np.int32), "similarity": similarity}
    specs = [*own.values(), *(saved.specs[name] for name in columns)]
    meta = {
        **saved.provenance,
        "search": {"run": hide_home(saved.name), **asked, **describe_origin("")},
    }
    return build_table(specs, {**found, **columns}, meta)
