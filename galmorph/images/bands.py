"""Names of photometric bands: as headers spell them, and their order in wavelength."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from galmorph.errors import BandError
from galmorph.images.cutout import RENDERED_BANDS

UNKNOWN_BAND = "unknown"

CENTRAL_WAVELENGTHS = {  # nanometres; the order is used (SVO Filter Profile Service)
    "FUV": 154, "NUV": 232, "u": 355, "U": 365, "v": 384, "B": 445, "blue": 450, "g": 477,
    "V": 551, "green": 550, "w": 608, "r": 623, "r2": 623, "red": 650, "R": 658, "Rc": 658,
    "N": 668, "VIS": 715, "i": 763, "i2": 770, "Ic": 805, "I": 806, "z": 913, "Z": 877, "y": 980,
    "Y": 1020, "J": 1250, "H": 1635, "K": 2200, "Ks": 2150, "W1": 3353, "W2": 4603, "W3": 11561,
    "W4": 22088, "UVW2": 206, "UVM2": 225, "UVW1": 263, "VR": 626, "ch1": 3557, "ch2": 4505,
    "ch3": 5739, "ch4": 7927, "I1": 3557, "I2": 4505, "I3": 5739, "I4": 7927,
}  # fmt: skip
OTHER_CASE = {"k_s": "Ks", "k short": "Ks"}
OTHER_CASE |= {n.lower(): n for n in CENTRAL_WAVELENGTHS if n not in ("r2", "i2", "v", "w", "N")}
OTHER_CASE |= {name: name for name in CENTRAL_WAVELENGTHS}  # "r" and "R" are two bands

SURVEY_PREFIX = re.compile(
    r"^(?:(?:sdss|hsc|des|decam|ps1|panstarrs|kids|lsst|cfht|wise|euclid|nisp|nir|skymapper|galex|"
    r"ztf|legacysurvey|omegacam|megacam|mzls|bass|vst)[-_. ]+|(?:bok|sdss|mos)(?=[ugrizy]$))",
    re.IGNORECASE,
)
SYSTEM = (
    "johns?o?n?|cous(?:ins?)?|bess(?:ell?)?|mko|2mass|ukirt|vista|wfi|sdss|sloan|ps1|panstarrs|lsst|"
    "des|decam|hsc|kids|fi?lte?r|band"
)
SYSTEM_WORD = re.compile(rf"^(?:{SYSTEM})[-_]|[-_](?:{SYSTEM})$", re.IGNORECASE)
BETWEEN_WHEELS = re.compile(r"[;,/|+#\s]+")
# Words that make of the letter of a band another filter, as in "H alpha" and "S II".
OTHER_FILTER = re.compile(r"alpha|beta|gamma|I{2,3}|cont(?:inuum)?|narrow|off", re.IGNORECASE)
EMPTY_WHEEL = re.compile(r"(?:CLEAR|EMPTY|OPEN|NONE)\w*|N/A", re.IGNORECASE)
SLOAN_NAMES = frozenset({*"ugrizy", "r2", "i2"})
# Of the primed system, OmegaCAM, Las Cumbres, LSST, MegaCam, and Pan-STARRS.
SLOAN_SUFFIX = re.compile(r"^([ugrizy])(?:'|_?SDSS|_?[ps]|_\d\d|\.MP\d{4}|\.0+)$")
# Of Subaru and of J-PLUS, numbered in nanometres.
NARROW_FILTER = re.compile(r"^(?:NB|IB|IA|J)0?([3-9]\d\d|1[01]\d\d)$", re.IGNORECASE)
SPACE_WIDE_FILTER = re.compile(r"^F(\d{3,4})(?:W|N|M|LP|X)2?$", re.IGNORECASE)
BARE_NUMBER = re.compile(r"^F(\d{3})$")
ROMAN = frozenset((62, 87, 106, 129, 146, 158, 184, 213))  # in tens of nanometres; S-PLUS in nm
HUBBLE_OPTICAL = frozenset(
    (218, 225, 275, 336, 390, 435, 438, 450, 467, 475, 502, 547, 550, 555, 606, 621, 625, 631, 645,
     656, 657, 658, 665, 673, 680, 689, 702, 763, 775, 791, 814, 845, 850, 892, 953)
)  # fmt: skip
MAX_NAMED_PLANES = 64


def clean_band_name(name: object) -> str:
    """Shorten the name of a filter, or of several wheels, to that of its band.

    >>> clean_band_name("g DECam SDSS c0001 4720.0 1520.0"), clean_band_name("CLEAR1L;F814W")
    ('g', 'F814W')
    """
    text = str(name).strip()
    return _clean_text(text.strip("=' ") if text.startswith(("=", "'")) else text)


@lru_cache(maxsize=4096)
def _clean_text(text: str) -> str:
    whole = _clean_word(text)
    if math.isfinite(_look_up(whole)):
        return whole
    words = [word for word in BETWEEN_WHEELS.split(text) if not EMPTY_WHEEL.fullmatch(word)]
    if any(map(OTHER_FILTER.fullmatch, words)):
        return text
    cleaned = list(map(_clean_word, words))
    if known := {word for word in cleaned if math.isfinite(_look_up(word))}:
        return known.pop() if len(known) == 1 else text
    return next(filter(None, cleaned), "")


def _clean_word(text: str) -> str:
    bare = SURVEY_PREFIX.sub("", text)
    word = SLOAN_SUFFIX.sub(r"\1", bare)
    if bare != text and word.lower() in SLOAN_NAMES:
        return word.lower()
    word = SYSTEM_WORD.sub("", word)
    return OTHER_CASE.get(word) or OTHER_CASE.get(word.lower(), word)


def name_bands(names: Iterable[object]) -> tuple[str, ...]:
    """The usual names of bands that stand together: R and Z beside G are small letters.

    >>> name_bands(["HSC-G", "R", "Z"]), name_bands(["B", "V", "R"])
    (('g', 'r', 'z'), ('B', 'V', 'R'))
    """
    return _name_together(tuple(map(str, names)))


@lru_cache(maxsize=1024)
def _name_together(given: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = tuple(map(clean_band_name, given))
    lowered = tuple(name.lower() for name in cleaned)
    found = set(lowered)
    if found <= SLOAN_NAMES and ("g" in found or ("z" in found and found & {"r", "i"})):
        cleaned = lowered
    return cleaned if len(set(cleaned)) == len(set(given)) else given


def find_band(wanted: str, names: Sequence[str]) -> str | None:
    """The one of the names that is meant: the same, or else the only one in other letters."""
    if wanted in names:
        return wanted
    similar = [name for name in names if name.lower() == clean_band_name(wanted).lower()]
    return similar[0] if len(similar) == 1 else None


def is_band_name(name: str) -> bool:
    """Whether a name is that of a known band ("g", "Ks", "W1", "F814W", "NB921")."""
    return math.isfinite(_wavelength(name))


def find_band_names(header: Mapping[str, Any], planes: int) -> tuple[str, ...] | None:
    """Names of so many planes, None where the header does not say; the order of cards is below."""
    if planes > MAX_NAMED_PLANES:
        return None
    found = (
        _from_list(header.get("BANDS"), planes),
        _from_numbered(header, "BAND", 0, planes),
        _from_numbered(header, "BAND", 1, planes),
        _from_numbered(header, "FILTER", 1, planes) if planes > 1 else None,
        _from_single(header, planes),
        _from_list(header.get("FILTER"), planes) if planes > 1 else None,
        _from_list(header.get("CTYPE3"), planes) if planes > 1 else None,
    )
    return next((names for names in found if names and len(set(names)) == planes), None)


def _from_list(value: object, planes: int) -> tuple[str, ...] | None:
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    if text.upper() == "RGB" and planes == 3:
        return RENDERED_BANDS
    words = [word for word in re.split(r"[,;|/\s]+", text) if word]
    if len(words) == 1 and len(text) == planes:  # "grz"
        words = list(text)
    names = name_bands(words)
    return names if len(names) == planes and all(map(is_band_name, names)) else None


def _from_numbered(
    header: Mapping[str, Any], stem: str, first: int, planes: int
) -> tuple[str, ...] | None:
    names = name_bands(header.get(f"{stem}{first + n}", "") for n in range(planes))
    return names if all(names) else None


def _from_single(header: Mapping[str, Any], planes: int) -> tuple[str, ...] | None:
    if planes != 1:
        return None
    keys = ("FILTER", "BAND", "FILTERX", "FILTNAM", "FILTER1", "FILTER2")
    found = [clean_band_name(header.get(key, "")) for key in keys]
    # CLEAR is the empty one of Hubble's two wheels.
    names = [name for name in found if name and not name.upper().startswith("CLEAR")]
    known = [name for name in names if is_band_name(name)]
    best = next(iter(known or names), None)
    return None if best is None else (best,)


def choose_planes(
    named: tuple[str, ...] | None, wanted: Sequence[str] | None, planes: int
) -> tuple[tuple[str, ...], list[int] | None]:
    """Settle names of planes and which to take (None: all) between the file and the user."""
    if named is not None and wanted is not None:
        found = [find_band(band, named) for band in wanted]
        if missing := [band for band, name in zip(wanted, found, strict=True) if name is None]:
            raise BandError(f"no band {', '.join(missing)}; the file has {', '.join(named)}")
        bands = tuple(name for name in found if name is not None)
        return bands, [named.index(band) for band in bands]
    if wanted is not None:
        if len(wanted) != planes:
            (first, *more) = wanted
            split = not more and len(first) == planes
            advice = f"; separate them by commas, as in {','.join(first)}" if split else ""
            raise BandError(
                f"{len(wanted)} band names ({', '.join(wanted)}) for {planes} planes{advice}"
            )
        return tuple(wanted), None
    if named is not None:
        return named, None
    if planes == 1:
        return (UNKNOWN_BAND,), None
    raise BandError(
        f"{planes} planes without band names (not as many in BANDS, BANDn, FILTER or "
        "CTYPE3); name them in the file's order, as in --bands g,r,z"
    )


def sort_by_wavelength(bands: Sequence[str]) -> list[int]:
    """Order planes from the bluest to the reddest.

    >>> sort_by_wavelength(("z", "g", "r"))
    [1, 2, 0]
    """
    strange = [band for band in bands if not is_band_name(band)]
    if strange and len(bands) > 1:
        raise BandError(
            f"the wavelength of {', '.join(strange)} is not known, and so the order of the bands "
            f"{', '.join(bands)}; give those to take from the bluest to the reddest, as in "
            "--bands g,r,z"
        )
    return sorted(range(len(bands)), key=lambda n: (_wavelength(bands[n]), n))


def _wavelength(band: str) -> float:
    return _look_up(clean_band_name(band))


@lru_cache(maxsize=4096)
def _look_up(band: str) -> float:
    if narrow := NARROW_FILTER.match(band):
        return float(narrow[1])
    if bare := BARE_NUMBER.match(band):
        return float(bare[1]) * (10 if int(bare[1]) in ROMAN else 1)
    if wide := SPACE_WIDE_FILTER.match(band):
        # Hubble's optical filters count in nanometres, its infrared ones and Webb's in tens.
        return float(wide[1]) * (1 if int(wide[1]) in HUBBLE_OPTICAL else 10)
    return float(CENTRAL_WAVELENGTHS.get(band, math.inf))
