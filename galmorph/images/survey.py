"""Survey, flux unit and zero point from a header."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from galmorph.images.wcs_cards import to_number

LEGACY_WORDS = (
    "legacysurvey",
    "legacy survey",
    "decals",
    "decam legacy",
    "mzls",
    "bass",
)
UNIT_NAMES = {
    "nanomaggy": "nanomaggy", "nanomaggies": "nanomaggy", "nmgy": "nanomaggy",
    "nanomaggie": "nanomaggy", "adu": "adu", "dn": "adu", "count": "adu", "counts": "adu",
    "electron": "electron", "electrons": "electron", "e-": "electron",
    "electrons/s": "electron/s", "electron/s": "electron/s", "e-/s": "electron/s",
    "counts/s": "adu/s", "adu/s": "adu/s",
    "jy": "Jy", "mjy": "mJy", "ujy": "uJy", "microjy": "uJy", "njy": "nJy",
}  # fmt: skip
PER_PIXEL = ("/pixel", "/pix", "/px", "perpixel")
MAGNITUDE = re.compile(
    r"[\[(]?(?!nano)([a-z]{0,6}?[ _])?[a-z]{0,6}?mag(s|nitudes?)?(?=$|[^a-z0-9_]|_(ab|st|vega)\b)",
    re.IGNORECASE,
)
ZEROPOINT_KEYS = ("MAGZERO", "MAGZPT", "MAGZP", "ZEROPNT", "PHOTZP", "ZP")


def find_survey(header: Mapping[str, Any]) -> str:
    """Survey of a header: "legacysurvey", "sdss", else its SURVEY in lower case, or ""."""
    survey = str(header.get("SURVEY", "")).strip().lower()
    if any(word in survey for word in LEGACY_WORDS) or "LEGPIPEV" in header:
        return "legacysurvey"
    origin = str(header.get("ORIGIN", "")).strip().lower()
    if "sdss" in survey or (not survey and origin == "sdss"):
        return "sdss"
    return survey


def find_unit(header: Mapping[str, Any]) -> str:
    """Flux unit from ``BUNIT`` in one spelling, "" where it does not say."""
    value = header.get("BUNIT", "")
    text = "" if isinstance(value, (int, float)) else str(value).strip()
    lowered = text.lower().replace(" ", "")
    for ending in PER_PIXEL:
        lowered = lowered.removesuffix(ending)
    if text.startswith("MJy"):  # megajansky per steradian is not a flux per pixel
        return text
    return UNIT_NAMES.get(lowered, text)


def is_magnitude(unit: str) -> bool:
    """Whether a unit is one of brightness on a logarithmic scale.

    Examples
    --------
    >>> is_magnitude("mag/arcsec2"), is_magnitude("ABmag"), is_magnitude("nanomaggy")
    (True, True, False)
    """
    return MAGNITUDE.match(unit) is not None


def find_zeropoint(header: Mapping[str, Any]) -> float:
    """AB magnitude of a flux of 1, NaN where no known card holds a number."""
    for key in ZEROPOINT_KEYS:
        number = to_number(header.get(key))
        if 0 < number < 100:
            return number
    return math.nan
