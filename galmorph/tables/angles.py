"""Positions of a catalogue in degrees: numbers in any unit of angle, or sexagesimal text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from galmorph.tables.columns import ColumnSpec

DEGREES = ("deg", "degree", "degrees", "degs")
HOURS = ("h", "hr", "hour", "hours")
"""Of angle: no position is a time."""


def find_factor(spec: ColumnSpec) -> float:
    """Factor from the unit of a column of numbers to degrees; ValueError where it is no angle."""
    from astropy import units

    unit = spec.unit.strip().lower()
    if unit in DEGREES:
        return 1.0
    if unit in HOURS:
        return 15.0
    return float(units.Unit(spec.unit or "deg").to(units.deg))


def parse_degrees(texts: Sequence[str], *, hours: bool) -> list[float]:
    """Read angles as people write them; NaN for a text that is no angle.

    "12:34:56.7", "12 34 56.7", "12h34m56.7s", "+41d16m09s", or a plain number of degrees; `hours`
    is what three numbers without letters begin with.
    """
    return [_parse(text.strip(), hours) for text in texts]


def to_degrees(value: Any, *, hours: bool) -> float:
    """`parse_degrees` for one value of a table, which may be a number of degrees or None."""
    if isinstance(value, float):
        return value
    return parse_degrees(["" if value is None else str(value)], hours=hours)[0]


def _parse(text: str, hours: bool) -> float:
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return _parse_sexagesimal(text, "hourangle" if hours else "deg")


def _parse_sexagesimal(text: str, unit: Any) -> float:
    from astropy.coordinates import Angle

    try:
        return float(Angle(text, unit=unit).degree)
    except (ValueError, TypeError):  # what astropy raises for text that is no angle
        return math.nan
