"""Survey, unit and zero point of a header, and bands of different ones brought to one."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from galmorph.errors import BandError
from galmorph.images.cutout import Array, Cutout
from galmorph.images.wcs_cards import to_number

LEGACY_WORDS = ("legacysurvey", "legacy survey", "decals", "decam legacy", "mzls", "bass")
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
NANOMAGGY_ZEROPOINT = 22.5  # AB magnitude of one nanomaggy
JANSKY_UNITS = {"Jy": 1.0, "mJy": 1e-3, "uJy": 1e-6, "nJy": 1e-9}
NANOMAGGY_IN_JANSKY = 3.631e-6


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

    >>> is_magnitude("mag/arcsec2"), is_magnitude("ABmag"), is_magnitude("nanomaggy")
    (True, True, False)
    """
    return MAGNITUDE.match(unit) is not None


def find_zeropoint(header: Mapping[str, Any]) -> float:
    """AB magnitude of a flux of 1, NaN where no known card holds a number."""
    numbers = (to_number(header.get(key)) for key in ZEROPOINT_KEYS)
    return next((number for number in numbers if 0 < number < 100), math.nan)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Unit of a plane, and AB magnitude of a flux of 1 by a card; "" and NaN for unknown."""

    unit: str = ""
    zeropoint: float = math.nan
    where: str = ""

    @property
    def magnitude(self) -> float:
        """AB magnitude of a flux of 1: by the unit where it is one of flux, else by the card."""
        if self.unit == "nanomaggy":
            return NANOMAGGY_ZEROPOINT
        if self.unit in JANSKY_UNITS:
            factor = JANSKY_UNITS[self.unit] / NANOMAGGY_IN_JANSKY
            return NANOMAGGY_ZEROPOINT - 2.5 * math.log10(factor)
        return self.zeropoint

    @property
    def known(self) -> bool:
        """Whether its header says anything."""
        return bool(self.unit) or not math.isnan(self.magnitude)

    def __str__(self) -> str:
        unit = f"unit {self.unit!r}" if self.unit else "no unit"
        without = math.isnan(self.magnitude)
        return f"{unit}, {'no zero point' if without else f'zero point {self.magnitude:g}'}"

    def factor_to(self, other: Self) -> float:
        """Factor that brings a flux of this calibration to another one; 1 where one is unknown."""
        if not (self.known and other.known):
            return 1.0
        if is_magnitude(self.unit) != is_magnitude(other.unit):
            raise self._refuse(other)
        factor = float(10 ** ((other.magnitude - self.magnitude) / 2.5))
        if not math.isnan(factor):
            return factor
        if self.unit == other.unit and math.isnan(self.magnitude) == math.isnan(other.magnitude):
            return 1.0
        raise self._refuse(other)

    def _refuse(self, other: Self) -> BandError:
        return BandError(
            f"{self.where}: its flux ({self}) cannot be brought to that of {other.where} "
            f"({other}); write a zero point (MAGZERO) or a unit of flux (BUNIT) into the header "
            "that lacks it, or leave that band out with --bands"
        )


def calibration_from_header(header: Mapping[str, Any], where: str = "") -> Calibration:
    """Calibration of an image by its header cards."""
    return Calibration(find_unit(header), find_zeropoint(header), where)


def calibration_from_cutout(cutout: Cutout) -> Calibration:
    """Calibration of a cutout, that of all its planes."""
    return Calibration(cutout.unit, float(cutout.notes.get("zeropoint", "nan")), cutout.path)


def match_planes(
    array: Array, calibrations: Sequence[Calibration]
) -> tuple[Array, Calibration, dict[str, str]]:
    """Bring planes (band, y, x) to the first calibration that is known; notes say by what."""
    known = next((c for c in calibrations if c.known), calibrations[0])
    factors = [calibration.factor_to(known) for calibration in calibrations]
    unknown = [str(n) for n, c in enumerate(calibrations, 1) if known.known and not c.known]
    notes = {"uncalibrated": ",".join(unknown)} if unknown else {}
    if all(factor == 1 for factor in factors):
        return array, known, notes
    with np.errstate(over="ignore", invalid="ignore"):
        matched = array * np.asarray(factors, dtype=np.float32)[:, None, None]
    factors_note = ",".join(f"{factor:.9g}" for factor in factors)
    return matched, known, {"band_factors": factors_note, **notes}


def restore_counts(cutout: Cutout) -> Cutout:
    """Take back what `match_planes` did, for a zero point that goes before the headers."""
    if "band_factors" not in cutout.notes:
        return cutout
    factors = np.array(cutout.notes["band_factors"].split(","), dtype=np.float32)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        counts = cutout.array / factors[:, None, None]
    notes = {**cutout.notes, "band_factors": ",".join("1" for _ in factors)}
    return replace(cutout, array=counts, notes=notes)
