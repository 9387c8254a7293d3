"""Position, pixel scale and orientation from a WCS."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = [
    "UNKNOWN_SKY",
    "WCS_KEYS",
    "SkyFrame",
    "explain_difference",
    "frame_at",
    "frame_from_header",
    "frame_from_wcs",
]

DEGENERATE_SCALE = 1e-12  # degrees per pixel below which a matrix says nothing
FARTHEST_PIXEL = 1e8  # a reference point farther away than any mosaic is a damaged card
PLAIN_KEYS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
WCS_KEYS = ("CTYPE1", *PLAIN_KEYS, "CDELT1", "CDELT2", "PC1_1", "PC2_1", "CROTA2")
"""Two images of the same cards show the same sky."""

NOT_PLAIN = ("A_ORDER", "AP_ORDER", "PV1_0", "PV1_1", "PV2_1", "CPDIS1", "CROTA2", "RADECSYS")
EQUATORIAL = {"ICRS", "FK5", ""}
J2000 = 2000.0
RIGHT_ANGLE_TOLERANCE = 1.0  # degrees within which "north up" is said
SCALE_TOLERANCE = 0.02  # by which the pixel scales of two bands on one grid may differ
SHIFT_TOLERANCE = 1.5  # pixels between them: squares cut out of two grids differ by whole ones
SQUARE_TOLERANCE = 1.05  # ratio of the sides of a pixel above which they are said
CROSS = np.array([(0, 0), (-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])  # pixels around a point
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class SkyFrame:
    """What a cutout needs to know of its WCS.

    Attributes
    ----------
    ra, dec : float
        Centre of the image, degrees (ICRS; FK5 J2000 is taken as the same, 0.03 arcsec at most).
    pixel_scale : float
        Arcseconds per pixel: the root of the area of the pixel in the middle (of a gnomonic
        projection without distortion: of that at the reference point).
    orientation : str
        As displayed with row 0 at the top: ``"north up, east left"``, or the position angle of
        the top and the parity; then the sides of the pixels where they are not square.
    """

    ra: float = math.nan
    dec: float = math.nan
    pixel_scale: float = math.nan
    orientation: str = ""


UNKNOWN_SKY = SkyFrame()


def load_wcs(header: Header) -> Any:
    """WCS of the two celestial axes, or None where there is none that can be used."""
    from astropy.wcs import WCS

    if "CTYPE1" not in header or not _is_plausible(header):
        return None
    # wcslib and astropy refuse bad headers with a dozen different exceptions.
    try:
        wcs = WCS(_drop_double_matrix(header), naxis=2)
        return wcs if wcs.has_celestial else None
    except Exception:
        return None


def _is_plausible(header: Header) -> bool:
    # wcslib takes a value that is no number for 0, which would pass for a position.
    values = [header.get(key, 0) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")]
    return all(isinstance(v, (int, float)) and abs(v) < FARTHEST_PIXEL for v in values)


def _drop_double_matrix(header: Header) -> Header:
    # SDSS frames of DR9 hold the same matrix as CDi_j and as PCi_j.
    if "CD1_1" not in header or "PC1_1" not in header:
        return header
    header = header.copy()
    for key in ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2"):
        header.remove(key, ignore_missing=True)
    return header


def frame_from_header(header: Header, shape: tuple[int, int]) -> SkyFrame:
    """Find centre, scale and orientation.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the image HDU.
    shape : (int, int)
        Rows and columns.

    Returns
    -------
    SkyFrame
        With NaN for what cannot be had; a strange WCS is no reason to refuse the pixels.
    """
    frame = _frame_of_plain_tan(header, shape)
    if frame is None:
        frame = frame_from_wcs(load_wcs(header), shape)
    return _from_keywords(header) if math.isnan(frame.ra) else frame


def explain_difference(one: SkyFrame, other: SkyFrame) -> str:
    """How two images of one size differ in what they show; "" where not, or where it is unknown."""
    if math.isnan(one.pixel_scale) or math.isnan(other.pixel_scale):
        return ""
    if abs(other.pixel_scale / one.pixel_scale - 1) > SCALE_TOLERANCE:
        return f"pixels of {one.pixel_scale:.4g} and {other.pixel_scale:.4g} arcsec"
    east = ((other.ra - one.ra + 180) % 360 - 180) * math.cos(math.radians(one.dec))
    shift = math.hypot(east, other.dec - one.dec) * 3600
    if shift > SHIFT_TOLERANCE * one.pixel_scale:
        return f"centres {shift:.4g} arcsec apart"
    return ""


def _frame_of_plain_tan(header: Header, shape: tuple[int, int]) -> SkyFrame | None:
    """Frame of an undistorted gnomonic header, as nearly every cutout has it; None for others.

    Building an `astropy.wcs.WCS` takes longer than reading a cutout; this is the same sum
    (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3).
    """
    if header.get("CTYPE1") != "RA---TAN" or header.get("CTYPE2") != "DEC--TAN":
        return None
    if any(key in header for key in NOT_PLAIN) or "CD1_1" not in header:
        return None
    equinox = header.get("EQUINOX", header.get("EPOCH", J2000))
    if str(header.get("RADESYS", "")) not in EQUATORIAL or equinox != J2000:
        return None
    if header.get("CUNIT1", "deg") != "deg" or header.get("LONPOLE", 180) != 180:
        return None
    values = [header.get(key, 0.0) for key in PLAIN_KEYS]
    if not all(isinstance(v, (int, float)) and abs(v) < FARTHEST_PIXEL for v in values):
        return None
    ra0, dec0, x0, y0, *matrix = (float(v) for v in values)
    cd = np.array(matrix).reshape(2, 2)
    x, y = (shape[1] + 1) / 2 - x0, (shape[0] + 1) / 2 - y0
    ra, dec = _deproject(ra0, dec0, *(cd @ (x, y)))
    return _make_frame(ra, dec, cd)


def _deproject(ra0: float, dec0: float, east: float, north: float) -> tuple[float, float]:
    """Position of a point of the tangent plane; everything in degrees."""
    xi, eta, delta = math.radians(east), math.radians(north), math.radians(dec0)
    along = math.cos(delta) - eta * math.sin(delta)
    ra = ra0 + math.degrees(math.atan2(xi, along))
    dec = math.atan2(math.sin(delta) + eta * math.cos(delta), math.hypot(xi, along))
    return ra % 360.0, math.degrees(dec)


def frame_from_wcs(wcs: Any, shape: tuple[int, int]) -> SkyFrame:
    """Find centre, scale and orientation of an `astropy.wcs.WCS` (None: unknown)."""
    return frame_at(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)


def frame_at(wcs: Any, x: float, y: float) -> SkyFrame:
    """The same of an image whose centre is a given pixel (0-based)."""
    if wcs is None or not getattr(wcs, "has_celestial", False):
        return UNKNOWN_SKY
    try:
        wcs = wcs.celestial
        ra, dec = to_icrs(wcs, x + CROSS[:, 0], y + CROSS[:, 1])
        matrix = _matrix_of_tan(wcs)
        if matrix is None:
            matrix = _find_matrix(np.radians(ra), np.radians(dec))
    # A projection without an inverse here, a singular matrix: no reason to lose the pixels.
    except Exception:
        return UNKNOWN_SKY
    return _make_frame(float(ra[0]), float(dec[0]), matrix)


def _matrix_of_tan(wcs: Any) -> Array | None:
    """Matrix of an undistorted gnomonic WCS, nearly the same everywhere; None for others."""
    names = sorted(str(name) for name in wcs.wcs.ctype)
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
    matrix: Array = np.degrees(np.array([east, north]) @ steps)
    return matrix


def _make_frame(ra: float, dec: float, matrix: Any) -> SkyFrame:
    if not (math.isfinite(ra) and math.isfinite(dec)):
        return UNKNOWN_SKY
    scale = math.sqrt(abs(float(np.linalg.det(matrix))))
    if not math.isfinite(scale) or scale < DEGENERATE_SCALE:
        return SkyFrame(ra, dec)
    return SkyFrame(ra, dec, scale * 3600, describe_orientation(matrix))


def _is_icrs(wcs: Any) -> bool:
    """Whether the axes are those of the ICRS, or of FK5 J2000, which counts as the same."""
    system, equinox = str(wcs.wcs.radesys).strip(), float(wcs.wcs.equinox)
    if wcs.wcs.lngtyp != "RA" or system not in EQUATORIAL:
        return False
    return system == "ICRS" or math.isnan(equinox) or equinox == J2000


def to_icrs(wcs: Any, x: Array, y: Array) -> tuple[Array, Array]:
    """Right ascension and declination in degrees of pixels (0-based)."""
    if _is_icrs(wcs):
        first, second = wcs.all_pix2world(x, y, 0)
        ra, dec = (second, first) if wcs.wcs.lat < wcs.wcs.lng else (first, second)
        return ra % 360.0, dec
    sky = wcs.pixel_to_world(x, y).icrs
    return sky.ra.deg, sky.dec.deg


def to_pixel(wcs: Any, ra: float, dec: float) -> tuple[float, float]:
    """Pixel (x, y, 0-based) of a position; NaN where it is not in the projection."""
    from astropy.wcs import NoConvergence

    wcs = wcs.celestial
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
    from astropy.wcs.utils import wcs_to_celestial_frame

    sky = SkyCoord(ra, dec, unit="deg", frame="icrs").transform_to(wcs_to_celestial_frame(wcs))
    return float(sky.spherical.lon.deg), float(sky.spherical.lat.deg)


def describe_orientation(matrix: Any) -> str:
    """Words for a pixel-to-sky matrix, as the image is shown (row 0 on top, after the flip).

    Parameters
    ----------
    matrix : array_like, shape (2, 2)
        Degrees east and north per pixel along x and along y (y up).

    Examples
    --------
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


def _from_keywords(header: Mapping[str, Any]) -> SkyFrame:
    """Position by the cards RA and DEC, in degrees or as text."""
    ra, dec = header.get("RA"), header.get("DEC")
    if isinstance(ra, str) and isinstance(dec, str):
        ra, dec = _parse_texts(ra, dec)
    if not (isinstance(ra, (int, float)) and isinstance(dec, (int, float))):
        return UNKNOWN_SKY
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        return UNKNOWN_SKY
    return SkyFrame(float(ra), float(dec), orientation="no WCS; position from RA and DEC")


def _parse_texts(ra: str, dec: str) -> tuple[float, float]:
    """Degrees of a number of degrees, or of hours and degrees with minutes; NaN for other text."""
    from astropy import units
    from astropy.coordinates import Angle

    try:
        return float(ra), float(dec)
    except ValueError:
        pass
    try:
        return Angle(ra, units.hourangle).deg, Angle(dec, units.deg).deg
    except (ValueError, TypeError, units.UnitsError):
        return math.nan, math.nan
