"""Positions of a catalogue in degrees: numbers in any unit of angle, or sexagesimal text."""

import math
import re
from collections.abc import Iterator, Mapping

import numpy as np

from galmorph.errors import CatalogueError
from galmorph.quantities import list_positions, to_degrees
from galmorph.tables.cells import Values, to_texts
from galmorph.tables.columns import ColumnSpec
from galmorph.tables.formats.base import TableReader

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
