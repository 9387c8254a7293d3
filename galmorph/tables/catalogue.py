"""Read a catalogue of cutouts: where each image is, and columns to carry into the result.

VOTable and IPAC tables are read whole, all others some rows at a time.

Columns of the catalogue keep their name, unit, UCD and description; line breaks and other control
characters in a name become a blank. A column whose name is one of galmorph's own
(`STANDARD_NAMES`, any that starts with ``p_``, ``e_000`` and the like, ``provenance``, compared
without case) is carried as ``<name>_catalogue``; if that is taken too, as ``<name>_catalogue2`` and
so on. So is the second of two columns whose names differ in case only ("b" and "B"), because FITS
has no case.

The columns that are used as ``object_id``, ``path``, ``ra`` and ``dec`` are carried under their own
name as well, unless it is just that name. Columns that no output format can hold (objects, complex
numbers, more than one axis per row) are left out with a `GalmorphWarning`.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError, GalmorphWarning
from galmorph.quantities import list_positions
from galmorph.remote import hide_secret, is_url
from galmorph.tables.angles import DEGREES, find_factor, parse_degrees
from galmorph.tables.cells import Values
from galmorph.tables.columns import STANDARD_NAMES, ColumnSpec, make_printable_name
from galmorph.tables.formats import open_reader
from galmorph.tables.formats.base import TableInMemory, TableReader

__all__ = [
    "Catalogue",
    "CatalogueRow",
    "digest_catalogue",
    "list_columns",
    "pick_column",
    "read_catalogue",
]

SUFFIX = "_catalogue"
IDENTIFIER = "object_id"
POSITION_UCDS = {
    "pos.eq.ra;meta.main": "ra",
    "pos.eq.dec;meta.main": "dec",
    "pos_eq_ra_main": "ra",
    "pos_eq_dec_main": "dec",
}
_OLD_EQUINOX = re.compile("1875|1900|1950|fk4", re.I)
_RESERVED = re.compile(r"p_.*|e_[0-9]{3,}|provenance")
"""What formats add: probabilities, the embedding in CSV, and the provenance in npz."""
MAX_PATH = 1 << 13
"""Letters; no system has longer ones."""

MAX_NAMED = MAX_SHOWN = 100
"""Columns that a message names, and letters of each."""


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One row of a catalogue.

    Attributes
    ----------
    object_id : str
        From the column of identifiers; the stem of the path where there is none, the row number
        (from 0) where there is no path either.
    path : str
        Absolute, or relative to the current folder; "" where the catalogue has none.
    ra, dec : float
        Degrees; NaN where unknown.
    band_paths : tuple of str
        One path per band column.
    columns : mapping
        Carried columns by the name that they have in the result; None where masked.
    """

    object_id: str
    path: str
    ra: float
    dec: float
    band_paths: tuple[str, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Roles:
    path: str | None
    object_id: str | None
    ra: str | None
    dec: str | None
    bands: tuple[str, ...]

    def named(self) -> list[tuple[str, str]]:
        """Standard name and name in the catalogue of each column that has a role."""
        pairs = {"path": self.path, "object_id": self.object_id, "ra": self.ra, "dec": self.dec}
        return [(role, name) for role, name in pairs.items() if name is not None]


class Catalogue:
    """Rows of a catalogue, read as they are asked for.

    `specs` are the carried columns; `carried` has them with their names in the catalogue.
    """

    def __init__(self, reader: TableReader, roles: _Roles, root: str | None) -> None:
        _check_roles(reader, roles)
        self.path, self.id_column = reader.path, roles.object_id
        self._reader, self._roles = reader, roles
        self._factors = {n: _find_factor(reader, n) for n in (roles.ra, roles.dec) if n}
        self.carried = _carried_columns(reader.specs, roles)
        self.specs = tuple(spec for spec, _ in self.carried)
        self._root = root if root is not None else self._guess_root()
        for name, factor in self._factors.items():
            if factor is None:
                self._check_angles(name)

    def __iter__(self) -> Iterator[CatalogueRow]:
        """Read from the first row; may be repeated."""
        start = 0
        for chunk in self._reader.chunks():
            rows = self._rows(chunk, start)
            yield from rows
            start += len(rows)

    def _rows(self, chunk: Mapping[str, Values], start: int) -> list[CatalogueRow]:
        roles = self._roles
        for name in filter(None, (roles.path, *roles.bands)):
            texts = _texts(chunk[name])
            if any(map(is_url, texts)):
                chunk = {**chunk, name: list(map(hide_secret, texts))}
        count = len(next(iter(chunk.values()), []))
        bands = [self._paths(chunk[name]) for name in roles.bands]
        paths = self._paths(chunk[roles.path]) if roles.path else [""] * count
        stems = paths if roles.path or not bands else bands[0]
        ids = [Path(p).stem if p else str(start + row) for row, p in enumerate(stems)]
        names = [spec.name for spec in self.specs]
        carried = [_objects(chunk[name]) for _, name in self.carried]
        values = zip(*carried, strict=True) if carried else [()] * count
        return list(
            map(
                CatalogueRow,
                _texts(chunk[roles.object_id]) if roles.object_id else ids,
                paths,
                self._degrees(chunk, roles.ra) if roles.ra else [math.nan] * count,
                self._degrees(chunk, roles.dec) if roles.dec else [math.nan] * count,
                zip(*bands, strict=True) if bands else [()] * count,
                (dict(zip(names, row, strict=True)) for row in values),
            )
        )

    def _paths(self, values: Values) -> list[str]:
        return [self._find(text) if text else "" for text in _texts(values)]

    def _find(self, text: str) -> str:
        """The path; without the blanks at its ends where only so there is a file."""
        text = text[:MAX_PATH]
        root = self._root
        if is_url(text):
            return text
        path, stripped = (
            os.path.join(root, part) if root != "." else part for part in (text, text.strip())
        )
        bare = path != stripped and not os.path.exists(path) and os.path.exists(stripped)
        return stripped if bare else path

    def _degrees(self, chunk: Mapping[str, Values], name: str) -> list[float]:
        factor = self._factors[name]
        if factor is None:
            return parse_degrees(_texts(chunk[name]), hours=self._in_hours(name))
        values = np.ma.filled(np.ma.asarray(chunk[name]).astype(float), np.nan)
        degrees: list[float] = (values * factor).tolist()
        return degrees

    def _in_hours(self, name: str) -> bool:
        """Whether sexagesimal text begins with hours: right ascension, unless the unit says not."""
        spec = self._reader.specs[name]
        return name == self._roles.ra and (spec is None or spec.unit not in DEGREES)

    def _first(self, name: str) -> list[str]:
        """Texts of a column that are there, of the first rows."""
        chunk = next(iter(self._reader.chunks()), None)
        return [text for text in _texts(chunk[name]) if text] if chunk is not None else []

    def _check_angles(self, name: str) -> None:
        """Refuse a column of text in which none of the first rows is an angle."""
        texts = self._first(name)
        if texts and all(math.isnan(*parse_degrees([text], hours=False)) for text in texts):
            raise CatalogueError(
                f"{self._reader.name}: column {name} must hold angles, as numbers of degrees or "
                f"like 12:34:56.7, not {texts[0][:MAX_SHOWN]!r}; choose others with --ra-column "
                "and --dec-column"
            )

    def _guess_root(self) -> str:
        """Folder that relative paths start from: the catalogue's, unless the first says else."""
        folder = self.path.parent
        name = self._roles.path or next(iter(self._roles.bands), None)
        text = next(iter(self._first(name) if name else []), "").partition("::")[0].strip()
        beside, here = os.path.exists(folder / text), os.path.exists(text)
        return "." if text and here and not beside else os.fspath(folder)


def _texts(values: Values) -> list[str]:
    if isinstance(values, list):
        return values
    return ["" if value is None or value != value else str(value) for value in _objects(values)]


def _objects(values: Values) -> list[Any]:
    if isinstance(values, list):
        return values
    if values.ndim > 1:
        return list(np.ma.getdata(values))
    listed: list[Any] = values.tolist()
    return listed


def _carried_columns(
    specs: Mapping[str, ColumnSpec | None], roles: _Roles
) -> list[tuple[ColumnSpec, str]]:
    """Specs as in the result, each with the name of the column in the catalogue."""
    same = {name for role, name in roles.named() if name.lower() == role}
    refused = [name for name, spec in specs.items() if spec is None]
    if refused:
        warnings.warn(
            f"the columns {_join(refused)} are of types that a result cannot hold; left out",
            GalmorphWarning,
            stacklevel=4,
        )
    kept = [spec for name, spec in specs.items() if spec is not None and name not in same]
    taken = {name.lower() for name in (*STANDARD_NAMES, *map(make_printable_name, specs))}
    carried, seen = [], set[str]()
    for spec in kept:
        printable = make_printable_name(spec.name)
        clash = _is_reserved(printable) or printable.lower() in seen
        name = _free_name(printable, taken) if clash else printable
        seen.add(printable.lower())
        carried.append((replace(spec, name=name), spec.name))
    return carried


def pick_column(columns: Mapping[str, Any], name: str) -> Any:
    """Value in a row's ``columns`` by the name that the column has in the table itself."""
    name = make_printable_name(name)
    renamed = f"{name}{SUFFIX}"
    return columns[renamed if renamed in columns else name]


def list_columns(columns: Mapping[str, Any]) -> list[str]:
    """Names of a row's ``columns`` as they stand in the table itself."""
    return [name.removesuffix(SUFFIX) for name in columns]


def _is_reserved(name: str) -> bool:
    return name.lower() in STANDARD_NAMES or _RESERVED.fullmatch(name.lower()) is not None


def _free_name(name: str, taken: set[str]) -> str:
    free, number = f"{name}{SUFFIX}", 2
    while free.lower() in taken:
        free, number = f"{name}{SUFFIX}{number}", number + 1
    taken.add(free.lower())
    return free


def _join(names: Iterable[str]) -> str:
    listed = [make_printable_name(name)[:MAX_SHOWN] for name in names]
    more = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
    return ", ".join(listed[:MAX_NAMED]) + more


def read_catalogue(
    path: Any,
    *,
    path_column: str | None = None,
    id_column: str | None = None,
    ra_column: str | None = None,
    dec_column: str | None = None,
    band_columns: Sequence[str] = (),
    root: str | os.PathLike[str] | None = None,
) -> Catalogue:
    """Open a catalogue of cutouts.

    Parameters
    ----------
    path : path-like or table
        CSV, TSV, ECSV (each also with .gz), FITS, VOTable, Parquet, JSON Lines or IPAC; or a folder
        of Parquet files, such as HATS; or a table of astropy or a frame of pandas in memory.
    path_column : str, optional
        Column of image paths. Needed unless there are band columns or positions.
    id_column : str, optional
        Column that becomes ``object_id``; by default one of that name.
    ra_column, dec_column : str, optional
        Positions: numbers, in degrees unless the column says another unit of angle; or text like
        "12:34:56.7" (hours for ``ra``) or "12h34m56.7s". By default ``ra`` and ``dec``, else those
        of `POSITION_UCDS`, else the first pair of `galmorph.quantities.POSITION_NAMES` there is.
    band_columns : sequence of str
        Columns with one path per band, in the order of the bands.
    root : path-like, optional
        Folder that relative paths start from. By default the folder of the catalogue; or the
        current folder, where the first path is found there and not beside the catalogue.

    Returns
    -------
    Catalogue
        Iterate over it for rows; ``specs`` are the columns that are carried along.

    Raises
    ------
    CatalogueError
        Where the file cannot be read, or a column is missing (the message lists those there are)
        or is not what it must be.
    MissingExtraError
        Where the catalogue is Parquet and pyarrow is not installed.
    """
    names = (path_column, id_column or IDENTIFIER, *band_columns)
    exact = {name for name in names if name is not None}
    is_path = isinstance(path, str | os.PathLike)
    reader = open_reader(path, exact=exact) if is_path else TableInMemory(path, exact)
    if root is None and is_url(path):
        root = path.rpartition("/")[0]
    start = None if root is None else os.fspath(root)
    own = reader.specs.get(IDENTIFIER)
    if id_column is None and own is not None and not own.shape:
        id_column = IDENTIFIER
    roles = _Roles(path_column, id_column, ra_column, dec_column, tuple(band_columns))
    if ra_column is not None or dec_column is not None:
        return Catalogue(reader, roles, start)
    for ra, dec in _find_positions(reader.specs):
        try:
            return Catalogue(reader, replace(roles, ra=ra, dec=dec), start)
        except CatalogueError:
            if ra.lower() == "ra":
                raise
            continue  # names that mean something else here
    return Catalogue(reader, roles, start)


def _find_positions(specs: Mapping[str, ColumnSpec | None]) -> Iterator[tuple[str, str]]:
    """Pairs of columns that may hold right ascension and declination, the likeliest first."""
    by_name = list(list_positions(specs))
    mains = {
        POSITION_UCDS[spec.ucd.lower()]: name
        for name, spec in specs.items()
        if spec and spec.ucd.lower() in POSITION_UCDS and not _is_old(spec)
    }
    plain = [pair for pair in by_name if pair[0].lower() == "ra"]
    yield from plain
    if len(mains) == 2:
        yield mains["ra"], mains["dec"]
    yield from (pair for pair in by_name if pair not in plain)


def _is_old(spec: ColumnSpec) -> bool:
    """Whether it is of an equinox before 2000, or its system."""
    return _OLD_EQUINOX.search(f"{spec.name} {spec.description}") is not None


def digest_catalogue(path: str | os.PathLike[str]) -> str:
    """The sha256 of a catalogue; of a folder, that of all names and files."""
    if not os.path.isdir(path):
        return _digest(Path(path))
    whole = hashlib.sha256()
    for file in sorted(Path(path).rglob("*.parquet")):
        whole.update(f"{file.relative_to(path)} {_digest(file)}\n".encode(errors="replace"))
    return whole.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_roles(reader: TableReader, roles: _Roles) -> None:
    path, there = reader.name, _join(reader.specs)
    used = [name for _, name in roles.named()] + list(roles.bands)
    missing = [name for name in used if name not in reader.specs]
    if missing:
        raise CatalogueError(
            f"{path}: no column {_join(missing)}; there are: {there}{reader.remark}"
        )
    if not roles.path and not roles.bands and not (roles.ra and roles.dec):
        raise CatalogueError(
            f"{path}: say which column holds the paths (--path-column), or with --mosaic "
            f"the positions (--ra-column, --dec-column); there are: {there}"
        )
    if bool(roles.ra) != bool(roles.dec):
        raise CatalogueError(f"{path}: name the columns of both ra and dec, or of neither")
    for name in used:
        spec = reader.specs[name]
        if spec is None or spec.shape:
            raise CatalogueError(f"{path}: column {name} does not hold one value per row")


def _find_factor(reader: TableReader, name: str) -> float | None:
    """Factor from the unit of a column to degrees; None where it holds text."""
    spec = reader.specs[name]
    assert spec is not None  # checked with the roles
    if spec.dtype == "str":
        return None
    if spec.dtype == "bool":
        raise CatalogueError(f"{reader.name}: column {name} must hold numbers, not {spec.dtype}")
    try:
        return find_factor(spec)
    except ValueError as error:
        raise CatalogueError(
            f"{reader.name}: column {name} has the unit {spec.unit!r}, which is no angle"
        ) from error
