"""The gnomonic projection without distortion, which nearly all cutouts and mosaics have.

Building an `astropy.wcs.WCS` takes longer than reading a cutout, and asking it longer than cutting
one out of a mosaic; this is the same sum (Calabretta & Greisen 2002, A&A 395, 1077, 5.1.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from galmorph.images.wcs_cards import J2000, WcsCards

NUMBERS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
PLAIN_CARDS: dict[str, float | str] = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
PLAIN_CARDS |= {"CUNIT1": "deg", "CUNIT2": "deg", "LONPOLE": 180.0, "EQUINOX": J2000}
EQUATORIAL = {"ICRS", "FK5", ""}

Matrix = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Tan:
    """Reference point in degrees (ICRS) and pixels (0-based), and degrees per pixel."""

    ra: float
    dec: float
    x: float
    y: float
    matrix: Matrix

    def to_sky(self, x: float, y: float) -> tuple[float, float]:
        """Right ascension and declination of a pixel."""
        x, y = x - self.x, y - self.y
        (a, b), (c, d) = self.matrix
        return deproject(self.ra, self.dec, a * x + b * y, c * x + d * y)

    def to_pixel(self, ra: float, dec: float) -> tuple[float, float]:
        """Pixel of a position; NaN for those of the other half of the sky."""
        away, delta, delta0 = map(math.radians, (ra - self.ra, dec, self.dec))
        across, up = math.cos(delta) * math.cos(away), math.sin(delta)
        depth = math.sin(delta0) * up + math.cos(delta0) * across
        if not depth > 0:
            return math.nan, math.nan
        east = math.degrees(math.cos(delta) * math.sin(away) / depth)
        north = math.degrees((math.cos(delta0) * up - math.sin(delta0) * across) / depth)
        (a, b), (c, d) = self.matrix
        size = a * d - b * c
        return self.x + (d * east - b * north) / size, self.y + (a * north - c * east) / size


def deproject(ra0: float, dec0: float, east: float, north: float) -> tuple[float, float]:
    """Position of a point of the tangent plane; everything in degrees."""
    xi, eta, delta = math.radians(east), math.radians(north), math.radians(dec0)
    along = math.cos(delta) - eta * math.sin(delta)
    ra = ra0 + math.degrees(math.atan2(xi, along))
    dec = math.atan2(math.sin(delta) + eta * math.cos(delta), math.hypot(xi, along))
    return ra % 360.0, math.degrees(dec)


def find_tan(cards: WcsCards) -> Tan | None:
    """The projection of these cards; None where it is another one."""
    others = dict(cards.values)
    numbers = [others.pop(key, None) for key in NUMBERS]
    if None in numbers or cards.tables or others.pop("RADESYS", "") not in EQUATORIAL:
        return None
    if not others.items() <= PLAIN_CARDS.items():
        return None
    ra, dec, x, y, a, b, c, d = (float(value) for value in numbers if value is not None)
    return Tan(ra, dec, x - 1, y - 1, ((a, b), (c, d)))
