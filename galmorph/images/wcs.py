"""The WCS of picked cards, and positions by it, in the ICRS."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from galmorph.images.cutout import Array
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


TABLES = {"CPDIS": ("WCSDVARR", "cpdis"), "D2IMDIS": ("D2IMARR", "det2im")}
"""Extension that holds a table of distortions, and its place in an `astropy.wcs.WCS`."""


def build_wcs(cards: WcsCards, hdus: Any) -> tuple[Any, str]:
    """WCS or None, and a remark on what is wrong with it."""
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    if not cards.values:
        return None, cards.remark
    # wcslib and astropy refuse bad headers with a dozen different exceptions.
    try:
        wcs = WCS(Header(cards.values))
        if not wcs.has_celestial:
            return None, ""
    except Exception:
        return None, "the WCS is not used, because its cards contradict each other"
    lost = [f"{name}{n}" for name, n in cards.tables if not _add_table(wcs, cards, name, n, hdus)]
    said = f"the distortion of {', '.join(lost)} is not applied, as its table is missing"
    return wcs, said if lost else cards.remark


def _add_table(wcs: Any, cards: WcsCards, name: str, axis: int, hdus: Any) -> bool:
    """Read a table of distortions from its own HDU, so that wcslib never sees its records."""
    from astropy.wcs import DistortionLookupTable

    version, first = cards.tables[name, axis]
    extension, attribute = TABLES[name]
    try:
        hdu = hdus[extension, version]
        grid = [
            tuple(float(hdu.header.get(f"{key}{n}", default)) for n in (1, 2))
            for key, default in (("CRPIX", 0), ("CRVAL", 0), ("CDELT", 1))
        ]
        data = hdu.data if first == axis else hdu.data.T
        table = np.ascontiguousarray(data, dtype=np.float32)
        if table.ndim != 2 or not np.isfinite(grid).all() or not all(grid[2]):
            return False
        setattr(wcs, f"{attribute}{axis}", DistortionLookupTable(table, *grid))
    except Exception:  # not there, no image, damaged
        return False
    return True


def find_celestial(wcs: Any) -> Any:
    """Its two celestial axes; itself where there are no others, as copies take most of the time."""
    return wcs if wcs.naxis == 2 else wcs.celestial


def _is_icrs(wcs: Any) -> bool:
    """Whether the axes are those of the ICRS, or of FK5 J2000, which counts as the same."""
    system, equinox = str(wcs.wcs.radesys).strip(), float(wcs.wcs.equinox)
    if wcs.wcs.lngtyp != "RA" or system not in EQUATORIAL:
        return False
    return system == "ICRS" or math.isnan(equinox) or equinox == J2000


def to_icrs(wcs: Any, x: Array, y: Array) -> tuple[Array, Array]:
    """Right ascension and declination in degrees of pixels (0-based)."""
    first, second = wcs.all_pix2world(x, y, 0)
    longitude, latitude = (second, first) if wcs.wcs.lat < wcs.wcs.lng else (first, second)
    if _is_icrs(wcs):
        return longitude % 360.0, latitude
    from astropy.coordinates import SkyCoord

    sky = SkyCoord(longitude, latitude, unit="deg", frame=_find_frame(wcs)).icrs
    return sky.ra.deg, sky.dec.deg


def to_pixel(wcs: Any, ra: float, dec: float) -> tuple[float, float]:
    """Pixel (x, y, 0-based) of a position; NaN where it is not in the projection."""
    if isinstance(wcs, Tan):
        return wcs.to_pixel(ra, dec)
    from astropy.coordinates import SkyCoord
    from astropy.wcs import NoConvergence

    wcs = find_celestial(wcs)
    if not _is_icrs(wcs):
        sky = SkyCoord(ra, dec, unit="deg", frame="icrs").transform_to(_find_frame(wcs)).spherical
        ra, dec = float(sky.lon.deg), float(sky.lat.deg)
    world = (dec, ra) if wcs.wcs.lat < wcs.wcs.lng else (ra, dec)
    try:
        x, y = wcs.all_world2pix(*world, 0)
    except NoConvergence:  # so far outside that the distortion has no inverse
        return math.nan, math.nan
    return float(x), float(y)


def _find_frame(wcs: Any) -> Any:
    """System of the axes; astropy takes ecliptic ones for equatorial, others it does not know."""
    from astropy.coordinates import BarycentricMeanEcliptic, Supergalactic
    from astropy.wcs.utils import wcs_to_celestial_frame

    if wcs.wcs.lngtyp == "ELON":
        equinox = float(wcs.wcs.equinox)
        return BarycentricMeanEcliptic(equinox=f"J{J2000 if math.isnan(equinox) else equinox}")
    return Supergalactic() if wcs.wcs.lngtyp == "SLON" else wcs_to_celestial_frame(wcs)
