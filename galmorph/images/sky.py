"""The WCS of picked cards: positions in the ICRS, pixel scale and orientation."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np

from galmorph.images.cutout import Array
from galmorph.images.wcs_cards import (
    J2000,
    Gathered,
    UnusableError,
    WcsCards,
    find_system,
    gather_cards,
    pick_wcs_cards,
)
from galmorph.quantities import to_degrees

NUMBERS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
PLAIN_CARDS: dict[str, float | str] = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
PLAIN_CARDS |= {"CUNIT1": "deg", "CUNIT2": "deg", "LONPOLE": 180.0, "EQUINOX": J2000}
EQUATORIAL = {"ICRS", "FK5", ""}

Matrix = tuple[tuple[float, float], tuple[float, float]]
# Extension that holds a table of distortions, and its place in an `astropy.wcs.WCS`.
TABLES = {"CPDIS": ("WCSDVARR", "cpdis"), "D2IMDIS": ("D2IMARR", "det2im")}
DEGENERATE_SCALE = 1e-12  # degrees per pixel below which a matrix says nothing
SYSTEM_CARDS = frozenset(("RADESYS", "RADECSYS", "EQUINOX", "EPOCH", "RA", "DEC"))
B1950, FIRST_FK5 = 1950.0, 1984.0  # FITS 4.0, 8.3
RIGHT_ANGLE_TOLERANCE = 1.0  # degrees within which "north up" is said
SCALE_TOLERANCE = 0.02  # by which the pixel scales of two bands on one grid may differ
SHIFT_TOLERANCE = 1.5  # pixels between them: squares cut out of two grids differ by whole ones
SQUARE_TOLERANCE = 1.05  # ratio of the sides of a pixel above which they are said
CROSS = np.array([(0, 0), (-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])  # pixels around a point


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


@dataclass(frozen=True, slots=True)
class SkyFrame:
    """Centre in degrees (ICRS; FK5 J2000 is taken as the same) and pixels of a cutout."""

    ra: float = math.nan
    dec: float = math.nan
    pixel_scale: float = math.nan  # arcseconds
    orientation: str = ""  # as displayed with row 0 at the top
    remark: str = ""  # on what is wrong with the cards
    matrix: Matrix | None = None  # degrees east and north per pixel to the right and upwards

    def turn_over(self) -> Self:
        """The same sky with the rows in the other order."""
        if self.matrix is None:
            return self
        (east_x, east_y), (north_x, north_y) = self.matrix
        matrix = ((east_x, -east_y), (north_x, -north_y))
        return replace(self, matrix=matrix, orientation=describe_orientation(matrix))


UNKNOWN_SKY = SkyFrame()


def load_sky(header: Any, hdus: Any = None) -> tuple[Any, str]:
    """WCS of the celestial axes (None: none can be had), with its tables in `hdus`; a remark."""
    cards = pick_wcs_cards(gather_cards(header))
    tan = find_tan(cards)
    if tan is not None and _measure(tan.matrix)[0] > DEGENERATE_SCALE:
        return tan, cards.remark
    return build_wcs(cards, hdus)


def frame_from_header(header: Any, shape: tuple[int, int], hdus: Any = None) -> SkyFrame:
    """Centre, scale and orientation of an image; NaN for what cannot be had."""
    found = gather_cards(header)
    cards = pick_wcs_cards(found)
    wcs: Any = find_tan(cards)
    remark = cards.remark
    if wcs is None:
        wcs, remark = build_wcs(cards, hdus)
    frame = frame_from_wcs(wcs, shape)
    if math.isnan(frame.ra):
        frame = _from_keywords(found)
    unread = sorted(found.broken & SYSTEM_CARDS)
    remark = remark or frame.remark or (f"{', '.join(unread)} cannot be read" if unread else "")
    return replace(frame, remark=remark) if remark else frame


def explain_difference(one: SkyFrame, other: SkyFrame) -> str:
    """How two images of one size differ in what they show; "" where not, or where it is unknown."""
    if math.isnan(one.pixel_scale) or math.isnan(other.pixel_scale):
        return ""
    if abs(other.pixel_scale / one.pixel_scale - 1) > SCALE_TOLERANCE:
        return f"pixels of {one.pixel_scale:.4g} and {other.pixel_scale:.4g} arcsec"
    east = ((other.ra - one.ra + 180) % 360 - 180) * math.cos(math.radians(one.dec))
    shift = math.hypot(east, other.dec - one.dec) * 3600
    return f"centres {shift:.4g} arcsec apart" if shift > SHIFT_TOLERANCE * one.pixel_scale else ""


def find_offset(one: SkyFrame, other: SkyFrame) -> Array:
    """Pixels (x, y) of one image from its centre to that of another one."""
    east = ((other.ra - one.ra + 180) % 360 - 180) * math.cos(math.radians(one.dec))
    return np.linalg.solve(np.array(one.matrix), np.array([east, other.dec - one.dec]))


def shift(frame: SkyFrame, x: float, y: float) -> SkyFrame:
    """Frame of the same pixels around another centre, so many pixels away."""
    ra, dec = deproject(frame.ra, frame.dec, *(np.array(frame.matrix) @ (x, y)))
    return replace(frame, ra=ra, dec=dec)


def frame_from_wcs(wcs: Any, shape: tuple[int, int]) -> SkyFrame:
    """Find centre, scale and orientation of a `Tan` or an `astropy.wcs.WCS` (None: unknown)."""
    return frame_at(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)


def frame_at(wcs: Any, x: float, y: float) -> SkyFrame:
    """The same of an image whose centre is a given pixel (0-based)."""
    if isinstance(wcs, Tan):
        return _make_frame(*wcs.to_sky(x, y), wcs.matrix)
    if wcs is None or not getattr(wcs, "has_celestial", False):
        return UNKNOWN_SKY
    try:
        ra, dec = to_icrs(wcs, x + CROSS[:, 0], y + CROSS[:, 1])
        if (matrix := _matrix_of_tan(wcs)) is None:
            matrix = _find_matrix(np.radians(ra), np.radians(dec))
    # A projection without an inverse here, a singular matrix: no reason to lose the pixels.
    except Exception:
        return UNKNOWN_SKY
    return _make_frame(float(ra[0]), float(dec[0]), matrix)


def _matrix_of_tan(wcs: Any) -> Array | None:
    """Matrix of an undistorted gnomonic WCS, nearly the same everywhere; None for others."""
    names = sorted(map(str, wcs.wcs.ctype))
    if names != ["DEC--TAN", "RA---TAN"] or wcs.has_distortion:
        return None
    matrix = np.asarray(wcs.pixel_scale_matrix, dtype=float)
    return matrix[::-1] if wcs.wcs.lat < wcs.wcs.lng else matrix


def _find_matrix(ra: Array, dec: Array) -> Array:
    """Degrees east and north per pixel along x and along y, from radians at the points `CROSS`."""
    sky = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    steps = sky[:, [2, 4]] - sky[:, [1, 3]]
    (ra, *_), (dec, *_) = ra, dec
    east = [-np.sin(ra), np.cos(ra), 0.0]
    north = [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)]
    return np.asarray(np.degrees(np.array([east, north]) @ steps))


def _make_frame(ra: float, dec: float, matrix: Any) -> SkyFrame:
    if not (math.isfinite(ra) and math.isfinite(dec)):
        return UNKNOWN_SKY
    (a, b), (c, d) = matrix if isinstance(matrix, tuple) else matrix.tolist()
    scale, turned = _measure(((a, b), (c, d)))
    if not math.isfinite(scale) or scale < DEGENERATE_SCALE:
        return SkyFrame(ra, dec)
    return SkyFrame(ra, dec, scale * 3600, turned, matrix=((a, b), (c, d)))


@lru_cache(maxsize=64)
def _measure(matrix: Matrix) -> tuple[float, str]:
    """Degrees per pixel and orientation; files of a survey share theirs."""
    scale = math.sqrt(abs(float(np.linalg.det(matrix))))
    known = math.isfinite(scale) and scale >= DEGENERATE_SCALE
    return scale, describe_orientation(matrix) if known else ""


def describe_orientation(matrix: Any) -> str:
    """Words for a matrix of degrees east and north per pixel to the right and upwards, as shown.

    >>> describe_orientation([[-1e-4, 0], [0, 1e-4]])
    'north up, east left'
    """
    (east_x, east_y), (north_x, north_y) = np.asarray(matrix, dtype=float)
    mirrored = east_x * north_y - east_y * north_x > 0
    angle = math.degrees(math.atan2(east_y, north_y)) % 360.0
    width, height = math.hypot(east_x, north_x), math.hypot(east_y, north_y)
    oblong = max(width, height) > SQUARE_TOLERANCE * min(width, height)
    sides = f", pixels of {width * 3600:.3g} by {height * 3600:.3g} arcsec" if oblong else ""
    if min(angle, 360.0 - angle) <= RIGHT_ANGLE_TOLERANCE:
        return f"north up, east {'right' if mirrored else 'left'}{sides}"
    seen = "mirrored" if mirrored else "east left"
    return f"top at position angle {angle:.0f} deg, {seen}{sides}"


def _from_keywords(found: Gathered) -> SkyFrame:
    """Position by the cards RA and DEC or OBJCTRA and OBJCTDEC, in degrees or as text."""
    for names in (("RA", "DEC"), ("OBJCTRA", "OBJCTDEC")):
        ra, dec = (None if n in found.broken else found.values.get(n) for n in names)
        if isinstance(ra, str) and isinstance(dec, str):
            ra, dec = to_degrees(ra, hours=True), to_degrees(dec, hours=False)
        if isinstance(ra, (int, float)) and isinstance(dec, (int, float)):
            if not (0 <= ra <= 360 and -90 <= dec <= 90):
                continue
            try:
                position = _turn(float(ra), float(dec), *find_system(found))
            except UnusableError as error:
                said = f"{' and '.join(names)} are not used: {error} names a system unknown here"
                return replace(UNKNOWN_SKY, remark=said)
            return SkyFrame(*position, orientation=f"no WCS; position from {' and '.join(names)}")
    return UNKNOWN_SKY


def _turn(ra: float, dec: float, system: str, equinox: float) -> tuple[float, float]:
    """Degrees in the ICRS of a position in a system and equinox that cards name (NaN: neither)."""
    from astropy.coordinates import FK4, FK5, FK4NoETerms, SkyCoord

    old = system.startswith("FK4") or (not system and equinox < FIRST_FK5)
    if system == "ICRS" or (not old and (math.isnan(equinox) or equinox == J2000)):
        return ra, dec
    kind = (FK4NoETerms if system == "FK4-NO-E" else FK4) if old else FK5
    year = f"B{B1950 if math.isnan(equinox) else equinox}" if old else f"J{equinox}"
    frame = kind(equinox=year)
    sky = SkyCoord(ra, dec, unit="deg", frame=frame).icrs
    return float(sky.ra.deg), float(sky.dec.deg)


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
