"""Positions that survey tools write into file names."""

from __future__ import annotations

import re

# IAU style: J094651.40-010228.5
IAU_NAME = re.compile(
    r"(?<![A-Za-z0-9])(?:SDSS)?J(\d{2})(\d{2})(\d{2}(?:\.\d+)?)([+-])(\d{2})(\d{2})(\d{2}(?:\.\d+)?)"
)
# ra146.7142_dec-1.0413, RA=146.7142&DEC=-1.0413
KEYED_NAME = re.compile(
    r"ra[_=]?(\d{1,3}\.\d+)[^0-9A-Za-z+-]*_?dec[_=]?([+-]?\d{1,2}\.\d+)", re.IGNORECASE
)
# 146.71421_-1.04128: two decimal numbers with four places or more, and nothing else
PLAIN_NAME = re.compile(r"^(\d{1,3}\.\d{4,})[_,+ ]?([+-]?\d{1,2}\.\d{4,})$")


def find_position(name: str) -> tuple[float, float] | None:
    """Read a position from a name.

    Examples
    --------
    >>> find_position("SDSSJ000000.00+100000.0"), find_position("587722981742084144")
    ((0.0, 10.0), None)
    """
    if "." not in name and "J" not in name:  # most names: no regular expression at all
        return None
    found = IAU_NAME.search(name)
    if found:
        return _from_sexagesimal(found)
    found = KEYED_NAME.search(name) or PLAIN_NAME.search(name)
    if found is None:
        return None
    return _check(float(found[1]), float(found[2]))


def _from_sexagesimal(found: re.Match[str]) -> tuple[float, float] | None:
    hours, minutes, seconds = int(found[1]), int(found[2]), float(found[3])
    degrees, arcminutes, arcseconds = int(found[5]), int(found[6]), float(found[7])
    if max(minutes, arcminutes) >= 60 or max(seconds, arcseconds) >= 60:
        return None
    sign = -1.0 if found[4] == "-" else 1.0
    ra = 15 * (hours + minutes / 60 + seconds / 3600)
    return _check(ra, sign * (degrees + arcminutes / 60 + arcseconds / 3600))


def _check(ra: float, dec: float) -> tuple[float, float] | None:
    return (ra, dec) if 0 <= ra < 360 and -90 <= dec <= 90 else None
