"""A catalogue of cutouts: where each image is, its position in degrees, columns to carry."""

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.quantities import list_positions, to_degrees
from galmorph.remote import hide_secret, is_url
from galmorph.tables.cells import Values, to_objects, to_texts
from galmorph.tables.columns import ColumnSpec, carried_columns, join_names
from galmorph.tables.formats import open_reader
from galmorph.tables.formats.base import TableInMemory, TableReader

IDENTIFIER = "object_id"
Roles = Mapping[str, str]  # names in the catalogue, by standard name
MAX_PATH = 1 << 13  # letters; no system has longer ones
DEGREES = ("deg", "degree", "degrees", "degs")
HOURS = ("h", "hr", "hour", "hours")  # of angle: no position is a time
POSITION_UCDS = {
    "pos.eq.ra;meta.main": "ra",
    "pos.eq.dec;meta.main": "dec",
    "pos_eq_ra_main": "ra",
    "pos_eq_dec_main": "dec",
}
_OLD_EQUINOX = re.compile("1875|1900|1950|fk4", re.I)
MAX_SHOWN = 100  # letters of a text in a message


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One row of a catalogue: carried columns by their names in the result, None where masked."""

    object_id: str
    path: str
    ra: float
    dec: float
    band_paths: tuple[str, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)


class Catalogue:
    """Rows of a catalogue, read as they are asked for; `specs` are the carried columns."""

    def __init__(
        self, reader: TableReader, roles: Roles, bands: Sequence[str], root: str | None
    ) -> None:
        _check_roles(reader, roles, bands)
        self.path, self.id_column = reader.path, roles.get(IDENTIFIER)
        self._reader, self._roles, self._bands = reader, roles, bands
        same = {name for role, name in roles.items() if name.lower() == role}
        self.carried = carried_columns(reader.specs, same)
        self.specs = tuple(spec for spec, _ in self.carried)
        self._root = root if root is not None else self._guess_root()
        self._angles = [
            AngleColumn(reader, roles[role], hours=role == "ra")
            for role in ("ra", "dec")
            if role in roles
        ]

    def __iter__(self) -> Iterator[CatalogueRow]:
        """Read from the first row; may be repeated."""
        start = 0
        for chunk in self._reader.chunks():
            rows = self._rows(chunk, start)
            yield from rows
            start += len(rows)

    def _rows(self, chunk: Mapping[str, Values], start: int) -> list[CatalogueRow]:
        path, object_id = self._roles.get("path"), self.id_column
        for name in filter(None, (path, *self._bands)):
            texts = to_texts(chunk[name])
            if any(is_url(text[:MAX_PATH]) for text in texts):
                chunk = {**chunk, name: list(map(hide_secret, texts))}
        count = len(next(iter(chunk.values()), []))
        bands = [self._paths(chunk[name]) for name in self._bands]
        paths = self._paths(chunk[path]) if path else [""] * count
        stems = paths if path or not bands else bands[0]
        ids = [Path(p).stem if p else str(start + row) for row, p in enumerate(stems)]
        names = [spec.name for spec in self.specs]
        carried = [to_objects(chunk[name]) for _, name in self.carried]
        values = zip(*carried, strict=True) if carried else [()] * count
        return list(
            map(
                CatalogueRow,
                to_texts(chunk[object_id]) if object_id else ids,
                paths,
                *([a.degrees(chunk) for a in self._angles] or [[math.nan] * count] * 2),
                zip(*bands, strict=True) if bands else [()] * count,
                (dict(zip(names, row, strict=True)) for row in values),
            )
        )

    def _paths(self, values: Values) -> list[str]:
        return [self._find(text) if text else "" for text in to_texts(values)]

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

    def _guess_root(self) -> str:
        """Folder that relative paths start from: the catalogue's, unless the first says else."""
        folder = self.path.parent
        name = self._roles.get("path") or next(iter(self._bands), None)
        texts = first_texts(self._reader, name) if name else []
        text = texts[0].partition("::")[0].strip() if texts else ""
        beside, here = os.path.exists(folder / text), os.path.exists(text)
        return "." if text and here and not beside else os.fspath(folder)


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
        "12:34:56.7" (hours for ``ra``) or "12h34m56.7s". By default ``ra`` and ``dec``, else what
        UCDs say, else the first pair of `galmorph.quantities.POSITION_NAMES` that is there.
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
    given = {"path": path_column, IDENTIFIER: id_column, "ra": ra_column, "dec": dec_column}
    roles = {role: name for role, name in given.items() if name is not None}
    for ra, dec in () if roles.keys() & {"ra", "dec"} else find_positions(reader.specs):
        try:
            return Catalogue(reader, roles | {"ra": ra, "dec": dec}, band_columns, start)
        except CatalogueError:
            if ra.lower() == "ra":
                raise
            continue  # names that mean something else here
    return Catalogue(reader, roles, band_columns, start)


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


def _check_roles(reader: TableReader, roles: Roles, bands: Sequence[str]) -> None:
    path, there = reader.name, join_names(reader.specs)
    used = [*roles.values(), *bands]
    missing = [name for name in used if name not in reader.specs]
    if missing:
        raise CatalogueError(
            f"{path}: no column {join_names(missing)}; there are: {there}{reader.remark}"
        )
    if "path" not in roles and not bands and not {"ra", "dec"} <= roles.keys():
        raise CatalogueError(
            f"{path}: say which column holds the paths (--path-column), or with --mosaic "
            f"the positions (--ra-column, --dec-column); there are: {there}"
        )
    if ("ra" in roles) != ("dec" in roles):
        raise CatalogueError(f"{path}: name the columns of both ra and dec, or of neither")
    for name in used:
        spec = reader.specs[name]
        if spec is None or spec.shape:
            raise CatalogueError(f"{path}: column {name} does not hold one value per row")


class AngleColumn:
    """Right ascension or declination; `hours`: sexagesimal text begins with them."""

    def __init__(self, reader: TableReader, name: str, *, hours: bool) -> None:
        spec = reader.specs[name]
        assert spec is not None
        self.name, self._hours = name, hours and spec.unit not in DEGREES
        self._factor = None if spec.is_text else _find_factor(spec, reader.name)
        texts = first_texts(reader, name) if spec.is_text else []
        if texts and all(math.isnan(to_degrees(text, hours=False)) for text in texts):
            raise CatalogueError(
                f"{reader.name}: column {name} must hold angles, as numbers of degrees or like "
                f"12:34:56.7, not {texts[0][:MAX_SHOWN]!r}; choose others with --ra-column and "
                "--dec-column"
            )

    def degrees(self, chunk: Mapping[str, Values]) -> list[float]:
        """Values of some rows; NaN for what is no angle."""
        values = chunk[self.name]
        if self._factor is None:
            return [to_degrees(text, hours=self._hours) for text in to_texts(values)]
        numbers = np.ma.filled(np.ma.asarray(values).astype(float), np.nan)
        return list((numbers * self._factor).tolist())


def first_texts(reader: TableReader, name: str) -> list[str]:
    """Texts of a column that are there, of the first rows."""
    chunk = next(iter(reader.chunks()), None)
    return [text for text in to_texts(chunk[name]) if text] if chunk is not None else []


def _find_factor(spec: ColumnSpec, table: str) -> float:
    from astropy import units

    unit = spec.unit.strip().lower()
    if spec.dtype == "bool":
        raise CatalogueError(f"{table}: column {spec.name} must hold numbers, not {spec.dtype}")
    if unit in (*DEGREES, *HOURS):
        return 1.0 if unit in DEGREES else 15.0
    try:
        return float(units.Unit(spec.unit or "deg").to(units.deg))
    except ValueError as error:
        raise CatalogueError(
            f"{table}: column {spec.name} has the unit {spec.unit!r}, which is no angle"
        ) from error


def find_positions(specs: Mapping[str, ColumnSpec | None]) -> Iterator[tuple[str, str]]:
    """Pairs of columns that may hold right ascension and declination, the likeliest first."""
    by_name = list(list_positions(specs))
    mains = {
        POSITION_UCDS[spec.ucd.lower()]: name
        for name, spec in specs.items()
        if spec
        and spec.ucd.lower() in POSITION_UCDS
        and not _OLD_EQUINOX.search(f"{spec.name} {spec.description}")
    }
    plain = [pair for pair in by_name if pair[0].lower() == "ra"]
    yield from plain
    if len(mains) == 2:
        yield mains["ra"], mains["dec"]
    yield from (pair for pair in by_name if pair not in plain)
