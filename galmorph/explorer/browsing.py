"""What is looked at: a map, which galaxies, in which order, and what is learnt of their labels."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.explorer.galaxies import MINE, Galaxies
from galmorph.explorer.labels import Labels, Learnt, learn
from galmorph.flags import Flags
from galmorph.neighbours.search import find_nearest
from galmorph.neighbours.vectors import compute_similarity, list_parts, multiply, to_unit
from galmorph.tables.where import Where
from galmorph.writing import put_in_place

SAMPLE = 20_000  # rows, at most, that axes of a map are found from
AS_IN_THE_TABLE, LEAST_SURE, SIMILAR = "as in the table", "least sure", "similar to the chosen"
MY_LEAST_SURE, FAR = "yours: least sure", "yours: far from all labelled"
YOUR_LABEL, COLUMNS = "your label", "two columns"
LONG_TEXTS = ("object_id", "path", "message", "treatment")
QUERIES = 32  # galaxies that all others are compared with at once, to bound the memory
MOST_TEXTS = 50  # different texts of a column that can be coloured by
Array = npt.NDArray[Any]


def compute_pca(embeddings: Array, encoded: Array, dimensions: int = 2) -> Array:
    """Principal components (n, dimensions); NaN where there is no embedding."""
    chosen = encoded
    if encoded.sum() > SAMPLE:
        rows = np.random.default_rng(0).choice(np.flatnonzero(encoded), SAMPLE, replace=False)
        chosen = np.isin(np.arange(len(encoded)), rows)
    parts = [part[chosen[rows]] for rows, part in list_parts(embeddings)]
    sample = np.concatenate(parts).astype(np.float32)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((sample - mean).T.astype(np.float64)))
    axes = vectors[:, np.argsort(-values)[:dimensions]].astype(np.float32)
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    found: Array = multiply(embeddings, axes) - mean @ axes
    return found


def open_map(name: str, galaxies: Galaxies) -> Array:
    """Axes (n, 2) by PCA or UMAP; computed once where they can be kept beside the run."""
    place = galaxies.place
    place = place and place.with_name(f"{place.name}.{name.lower()}.npy")
    if place and place.is_file():
        return np.load(place)  # type: ignore[no-any-return]
    compute = compute_umap if name == "UMAP" else compute_pca
    found = compute(galaxies.embeddings, galaxies.encoded)
    if place:
        with suppress(OSError), put_in_place(place) as temporary, temporary.open("wb") as file:
            np.save(file, found)  # where nothing can be written, next time again
    return found


def has_umap() -> bool:
    """Whether the extra ``umap`` is installed."""
    return importlib.util.find_spec("umap") is not None


def compute_umap(embeddings: Array, encoded: Array) -> Array:
    """UMAP (n, 2) of the 32 first principal components, fitted on `SAMPLE` rows at most."""
    from umap import UMAP

    reduced = compute_pca(embeddings, encoded, min(32, embeddings.shape[1]))
    rows = np.flatnonzero(encoded)
    found = np.full((len(embeddings), 2), np.nan, dtype=np.float32)
    mapper = UMAP(random_state=0, n_jobs=1, n_neighbors=min(15, len(rows) - 1))
    if len(rows) <= SAMPLE:
        found[rows] = mapper.fit_transform(reduced[rows])
    else:
        mapper.fit(reduced[np.random.default_rng(0).choice(rows, SAMPLE, replace=False)])
        found[rows] = mapper.transform(reduced[rows])
    return found


@dataclass(frozen=True)
class Sorting:
    """Values (n,) to sort by, and whether the largest comes first."""

    compute: Callable[[], Array]
    largest_first: bool = True
    unlabelled: bool = False
    """Leave out what is labelled already: these are proposals of what to label next."""


class Browsing:
    """The state of one look at a run; knows nothing of the page."""

    def __init__(self, galaxies: Galaxies, labels: Labels) -> None:
        self.galaxies, self.labels = galaxies, labels
        self.chosen = 0
        self.picked: Array | None = None
        self.passing: Array = np.arange(len(galaxies))
        self.sorted_by = LEAST_SURE if "confidence" in galaxies.columns else AS_IN_THE_TABLE
        self.order: Array = np.arange(len(galaxies))
        self.notes: Array | None = None
        self.maps: dict[str, Array] = {}

    def list_sortings(self) -> dict[str, Sorting]:
        """What galaxies can be sorted by, under the names that are shown."""
        columns, found = self.galaxies.columns, {}
        if "confidence" in columns:
            found[LEAST_SURE] = Sorting(lambda: columns["confidence"], largest_first=False)
        if "atypicality" in columns:
            found["most atypical"] = Sorting(lambda: columns["atypicality"])
        if self.galaxies.laid:
            found[SIMILAR] = Sorting(lambda: self.compute_similarity([self.chosen]))
        mine = {f"yours: {n[len(MINE) :]}": n for n in columns if n.startswith(MINE)}
        if mine:
            found[MY_LEAST_SURE] = Sorting(
                lambda: np.max([columns[name] for name in mine.values()], axis=0),
                largest_first=False,
                unlabelled=True,
            )
            found[FAR] = Sorting(
                lambda: self.compute_similarity(list(self.labels.rows)),
                largest_first=False,
                unlabelled=True,
            )
        for text, name in mine.items():
            found[text] = Sorting(lambda name=name: columns[name], unlabelled=True)  # type: ignore[misc]
        others = [n for n in self.galaxies.list_numbers() if not n.startswith(("p_", MINE))]
        named = {**self.galaxies.shares, **{n: n for n in others}}
        for text, name in named.items():
            found.setdefault(text, Sorting(lambda name=name: columns[name]))  # type: ignore[misc]
        return {**found, AS_IN_THE_TABLE: Sorting(lambda: -np.arange(len(self.galaxies)))}

    def compute_similarity(self, rows: Any) -> Array:
        """Cosine with the nearest of some rows."""
        found = np.full(len(self.galaxies), np.nan)
        if self.galaxies.alike is None:
            return found
        vectors = self.galaxies.alike.result()
        for start in range(0, len(rows), QUERIES):
            queries = to_unit(vectors[np.asarray(rows[start : start + QUERIES])])
            nearest = compute_similarity(vectors, queries[np.isfinite(queries[:, 0])])
            found = np.fmax(found, np.fmax.reduce(nearest, axis=1, initial=np.nan))
        return found

    def refresh(self) -> None:
        """Find the order anew."""
        sorting = self.list_sortings()[self.sorted_by]
        values = np.asarray(sorting.compute(), dtype=float)
        shown = self.passing
        if self.picked is not None:
            shown = shown[np.isin(shown, self.picked)]
        if sorting.unlabelled:
            shown = shown[~np.isin(shown, list(self.labels.rows))]
        keys = -values[shown] if sorting.largest_first else values[shown]
        self.order = shown[np.argsort(keys, kind="stable")]  # NaN come last
        self.notes = None if self.sorted_by == AS_IN_THE_TABLE else values

    def filter(self, text: str) -> None:
        """Let pass the rows for which an expression on columns holds, all where it is empty."""
        columns: dict[str, Array] = {
            **self.galaxies.columns,
            "your_label": self.get_colour(YOUR_LABEL),
        }
        if not text.strip():
            self.passing = np.arange(len(self.galaxies))
            return
        where = Where(text)
        where.check(columns)
        texts = {name: columns[name] for name in where.names}
        values = {n: v.astype(np.str_) if v.dtype.kind == "O" else v for n, v in texts.items()}
        self.passing = np.flatnonzero(where.choose(values))

    def find_neighbours(self, count: int) -> Array:
        """The rows most like the chosen one, without it; none before it is known."""
        alike = self.galaxies.alike
        if not (alike and alike.done() and self.galaxies.encoded[self.chosen]):
            return np.empty(0, dtype=int)
        vectors = alike.result()
        query = to_unit(vectors[[self.chosen]])[0]
        return find_nearest(vectors, query, count, left_out=[self.chosen])[0]

    def step(self, by: int) -> None:
        """Choose the next galaxy in the order, or the one before."""
        at = np.flatnonzero(self.order == self.chosen)
        if len(self.order):
            place = int(at[0]) + by if len(at) else 0
            self.chosen = int(self.order[min(max(place, 0), len(self.order) - 1)])

    def learn(self) -> Learnt:
        """Fit a head on the labels; its shares become columns ``mine_<class>``."""
        learnt = learn(self.galaxies, self.labels.rows)
        columns = self.galaxies.columns
        for name in [name for name in columns if name.startswith(MINE)]:
            del columns[name]
        for k, name in enumerate(learnt.head.class_names):
            columns[MINE + name] = learnt.shares[:, k]
        self.galaxies.learnt = learnt
        return learnt

    def list_maps(self) -> list[str]:
        """What can be the axes of the map."""
        laid = self.galaxies.laid
        if laid is None or (laid.done() and self.galaxies.encoded.sum() < 3):
            return [COLUMNS]
        return ["PCA", *(["UMAP"] if has_umap() else []), COLUMNS]

    def compute_map(self, name: str) -> Array:
        """Axes (n, 2) by PCA or UMAP."""
        if name not in self.maps:
            self.maps[name] = open_map(name, self.galaxies)
        return self.maps[name]

    def list_colours(self) -> list[str]:
        """What the map can be coloured by."""
        columns = self.galaxies.columns
        numbers = self.galaxies.list_numbers()
        texts = [n for n, v in columns.items() if v.dtype.kind == "O" and n not in LONG_TEXTS]
        few = [n for n in texts if n == "label" or len(set(columns[n][:5000])) <= MOST_TEXTS]
        seen = Flags(int(np.bitwise_or.reduce(columns["flags"].astype(int), initial=0)))
        return [
            *few,
            YOUR_LABEL,
            *numbers,
            *(f"flag: {flag.name.lower()}" for flag in seen if flag.name),
        ]

    def get_colour(self, name: str) -> Array:
        """Values to colour by: numbers or texts."""
        columns = self.galaxies.columns
        if name == YOUR_LABEL:
            values = np.full(len(self.galaxies), "", dtype=object)
            for row, label in self.labels.rows.items():
                values[row] = label
            return values
        if name.startswith("flag: "):
            flag = Flags[name.removeprefix("flag: ").upper()]
            return np.where(columns["flags"].astype(int) & flag != 0, "set", "not set").astype(
                object
            )
        return columns[name]

    def list_shares(self) -> dict[str, str]:
        """Columns of which can be shown what they rest on, by the names that are shown."""
        mine = {f"yours: {n[len(MINE) :]}": n for n in self.galaxies.columns if n[:5] == MINE}
        columns = (column for each in self.galaxies.questions for column in each.columns)
        answers = {name.replace("_", " "): f"{name}_fraction" for name in columns}
        return {**self.galaxies.shares, **answers, **mine}

    def add_labels(self) -> Galaxies:
        """The galaxies with a column of your labels, where there are any: for files."""
        columns = self.galaxies.columns
        if not self.labels.rows:
            return self.galaxies
        columns = {**columns, "your_label": self.get_colour(YOUR_LABEL)}
        return Galaxies(self.galaxies.name, columns, self.galaxies.meta)
