"""An `astropy.wcs.WCS` of picked cards, and positions by it, in the ICRS."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.images.tan import EQUATORIAL, Tan
from galmorph.images.wcs_cards import J2000, WcsCards

Array = npt.NDArray[Any]
TABLES = {"CPDIS": ("WCSDVARR", "cpdis"), "D2IMDIS": ("D2IMARR", "det2im")}
"""Extension that holds a table of distortions, and its place in an `astropy.wcs.WCS`."""


def build_wcs(cards: WcsCards, hdus: Any) -> tuple[Any, str]:
    """WCS or None, and a remark on what is wrong with it."""
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    if not cards:
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
    from astropy.wcs import NoConvergence

    wcs = find_celestial(wcs)
    if not _is_icrs(wcs):
        ra, dec = _from_icrs(wcs, ra, dec)
    world = (dec, ra) if wcs.wcs.lat < wcs.wcs.lng else (ra, dec)
    try:
        x, y = wcs.all_world2pix(*world, 0)
    except NoConvergence:  # so far outside that the distortion has no inverse
        return math.nan, math.nan
    return float(x), float(y)


def _from_icrs(wcs: Any, ra: float, dec: float) -> tuple[float, float]:
    """Longitude and latitude in degrees in the system of a WCS."""
    from astropy.coordinates import SkyCoord

    sky = SkyCoord(ra, dec, unit="deg", frame="icrs").transform_to(_find_frame(wcs))
    return float(sky.spherical.lon.deg), float(sky.spherical.lat.deg)


def _find_frame(wcs: Any) -> Any:
    """System of the axes; astropy takes ecliptic ones for equatorial, others it does not know."""
    from astropy.coordinates import BarycentricMeanEcliptic, Supergalactic
    from astropy.wcs.utils import wcs_to_celestial_frame

    if wcs.wcs.lngtyp == "ELON":
        equinox = float(wcs.wcs.equinox)
        return BarycentricMeanEcliptic(equinox=f"J{J2000 if math.isnan(equinox) else equinox}")
    return Supergalactic() if wcs.wcs.lngtyp == "SLON" else wcs_to_celestial_frame(wcs)
