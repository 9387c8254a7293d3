"""The cards of a header that make a celestial WCS, picked one by one: wcslib sees no others."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

WCS_CARD = re.compile(  # bounds how many there can be: nine axes, SIP up to order 9
    r"(?:CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[1-9]|(?:CD|PC)[1-9]_[1-9]|PC00[1-9]00[1-9]|"
    r"RA|DEC|OBJCTRA|OBJCTDEC|PV[1-9]_[1-3]?\d|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|WAT[1-9]_0[0-4]\d|"
    r"(?:A|B|AP|BP)_(?:ORDER|\d_\d)|(?:CPDIS|D2IMDIS)[12]|(?:DP|D2IM)[12]\.(?:EXTVER|AXIS\.[12])|"
    r"PLT(?:RA[HMS]|DEC(?:SN|[DMS])|SCALE)|[XY]PIXELSZ|PPO[1-6]|AMD[XY](?:1?\d|20)|CNPIX[12]"
)
_is_wcs_card = lru_cache(maxsize=1024)(WCS_CARD.fullmatch)
AXIS_TYPE = re.compile(r"(RA--|DEC-|[GES]LON|[GES]LAT)-(?!TAB)[A-Z]{3}(-SIP)?")
OPPOSITE = {"RA--": "DEC-", **{f"{c}LON": f"{c}LAT" for c in "GES"}}
PLATE_CARDS = ("PLTRAH", "PLTDECD", "XPIXELSZ", "PPO3", "PPO6", "AMDX1", "AMDY1", "CNPIX1")
UNIT = re.compile(r"[A-Za-z]{0,12}")
SYSTEMS = {"": "", "ICRS": "ICRS", "FK5": "FK5", "J2000": "FK5", "FK4": "FK4", "B1950": "FK4"}
SYSTEMS["FK4-NO-E"] = "FK4-NO-E"
J2000 = 2000.0
EQUINOXES = (1800.0, 2100.0)  # what lies beyond is no year
FARTHEST = 1e8  # a reference point farther away than any mosaic is a damaged card
MAX_ORDER = 9  # of the SIP convention (Shupe et al. 2005, ASPC 347, 491)


@dataclass(frozen=True, slots=True)
class WcsCards:
    """Cards of a WCS of two axes, lookup tables by (card, axis), and what is to be said of them."""

    values: Mapping[str, float | str] = field(default_factory=dict)
    tables: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    remark: str = ""


class UnusableError(Exception):
    """A card without which there is no WCS."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Values by card, and the cards that cannot be read or stand twice and disagree."""

    values: dict[str, Any]
    broken: set[str]

    def number(self, key: str, default: float | None = None) -> float:
        """A number of a sane size, also in quotes."""
        if key not in self.values and key not in self.broken and default is not None:
            return default
        number = to_number(self.values.get(key)) if key not in self.broken else math.nan
        if not abs(number) < FARTHEST:
            raise UnusableError(key)
        return number

    def has(self, keys: Iterable[str]) -> bool:
        """Whether one of the cards is there, readable or not."""
        return any(key in self.values or key in self.broken for key in keys)

    def text(self, key: str) -> str:
        """In capitals; "" where it is not there."""
        return str(self.values.get(key, "")).strip().upper()


def to_number(value: object) -> float:
    """A number, also one in quotes; NaN for all else."""
    if isinstance(value, bool):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def gather_cards(header: Any) -> Gathered:
    """All cards that a WCS may have, each once."""
    values: dict[str, Any] = {}
    broken: set[str] = set()
    for card in header.cards:
        key = card.keyword
        if not _is_wcs_card(key):
            continue
        try:
            value = card.value
        except Exception:  # of astropy's parser, of many kinds
            broken.add(key)
            continue
        if not isinstance(value, (str, int, float)):  # without a value, complex
            continue
        if values.setdefault(key, value) != value:
            broken.add(key)
    return Gathered(values, broken)


def find_system(found: Gathered) -> tuple[str, float]:
    """RADESYS and equinox ("" and NaN where not said); `UnusableError` for an unknown one."""
    named = found.text("RADESYS") or found.text("RADECSYS")
    if named not in SYSTEMS:
        raise UnusableError("RADESYS")
    years = (to_number(found.text(key).lstrip("JB")) for key in ("EQUINOX", "EPOCH"))
    sane = (year for year in years if EQUINOXES[0] < year < EQUINOXES[1])
    return SYSTEMS[named], next(sane, J2000 if named == "J2000" else math.nan)


def pick_wcs_cards(found: Gathered) -> WcsCards:
    """Pick the cards of the two celestial axes; empty, with a remark, where they make no WCS."""
    try:
        if (axes := _find_axes(found)) is not None:
            return _pick(found, axes)
        return _pick_plate(found) if found.has(PLATE_CARDS[:1]) else WcsCards()
    except UnusableError as error:
        return WcsCards(remark=f"the WCS is not used: {error} is missing, unreadable or absurd")


def _find_axes(found: Gathered) -> tuple[int, int] | None:
    """Numbers of the celestial axes, in the order of the file; None without CTYPE of such."""
    matches = {n: AXIS_TYPE.fullmatch(found.text(f"CTYPE{n}")) for n in range(1, 10)}
    names = {match[1]: n for n, match in reversed(matches.items()) if match}
    for longitude, latitude in OPPOSITE.items():
        if longitude in names and latitude in names:
            first, second = sorted((names[longitude], names[latitude]))
            return first, second
    return None


def _pick(found: Gathered, axes: tuple[int, int]) -> WcsCards:
    types = [found.text(f"CTYPE{n}") for n in axes]
    if found.broken & {f"CTYPE{n}" for n in axes} or types[0][5:] != types[1][5:]:
        raise UnusableError(f"CTYPE{axes[0]}")
    values: dict[str, float | str] = {}
    for new, (old, name) in enumerate(zip(axes, types, strict=True), 1):
        unit = str(found.values.get(f"CUNIT{old}", "")).strip()
        if not UNIT.fullmatch(unit) or f"CUNIT{old}" in found.broken:
            raise UnusableError(f"CUNIT{old}")
        values |= {f"CTYPE{new}": name.removesuffix("-SIP"), f"CUNIT{new}": unit or "deg"}
        reference = found.number(f"CRVAL{old}")
        values |= {f"CRVAL{new}": reference, f"CRPIX{new}": found.number(f"CRPIX{old}")}
        for key in {*found.values, *found.broken}:
            if key.startswith(f"PV{old}_"):
                values[f"PV{new}_{key.rpartition('_')[2]}"] = found.number(key)
        if name[:4] in OPPOSITE.values() and unit in ("", "deg") and abs(reference) > 90:
            raise UnusableError(f"CRVAL{old}")
    values |= _pick_matrix(found, axes, 1 + (types[1][:4] in OPPOSITE.values()))
    values |= {k: found.number(k) for k in ("LONPOLE", "LATPOLE") if found.has([k])}
    values |= _name_system(found)
    if types[0][5:8] in ("TNX", "ZPX"):
        values |= {k: str(v)[:68] for k, v in found.values.items() if k.startswith("WAT")}
    sip, remark = _pick_sip(found, all(name.endswith("-SIP") for name in types), axes)
    values |= sip
    if sip:
        values |= {f"CTYPE{n}": name for n, name in enumerate(types, 1)}
    return WcsCards(values, _pick_tables(found) if axes == (1, 2) else {}, remark)


def _name_system(found: Gathered) -> dict[str, float | str]:
    system, equinox = find_system(found)
    named: dict[str, float | str] = {"RADESYS": system} if system else {}
    return named if math.isnan(equinox) else {**named, "EQUINOX": equinox}


def _pick_matrix(found: Gathered, axes: tuple[int, int], latitude: int) -> dict[str, float | str]:
    """Degrees per pixel as CDi_j, of whichever description there is; headers may hold two."""
    pairs = [(i, j) for i in (1, 2) for j in (1, 2)]
    for stem in ("CD{}_{}", "PC{}_{}", "PC00{}00{}"):
        names = {(i, j): stem.format(axes[i - 1], axes[j - 1]) for i, j in pairs}
        if not found.has(names.values()):
            continue
        scaled = stem != "CD{}_{}"
        steps = [found.number(f"CDELT{n}", 1.0) if scaled else 1.0 for n in axes]
        same = 1.0 if scaled else 0.0
        return {
            f"CD{i}_{j}": steps[i - 1] * found.number(key, same if i == j else 0.0)
            for (i, j), key in names.items()
        }
    steps = [found.number(f"CDELT{n}") for n in axes]
    turned = math.radians(found.number(f"CROTA{axes[latitude - 1]}", 0.0))
    sine = math.sin(turned) if latitude == 2 else -math.sin(turned)
    straight, across = {n: math.cos(turned) * steps[n - 1] for n in (1, 2)}, {1: sine, 2: -sine}
    return {f"CD{i}_{j}": straight[i] if i == j else across[j] * steps[j - 1] for i, j in pairs}


def _pick_sip(
    found: Gathered, named: bool, axes: tuple[int, int]
) -> tuple[dict[str, float | str], str]:
    """The polynomials of a CTYPE that says -SIP, and what is wrong with them."""
    if not named or not found.has(("A_ORDER", "B_ORDER")) or axes != (1, 2):
        return {}, ""
    picked: dict[str, float | str] = {}
    for pair in (("A", "B"), ("AP", "BP")):
        orders = [to_number(found.values.get(f"{name}_ORDER")) for name in pair]
        if pair == ("AP", "BP") and not all(1 < order <= MAX_ORDER for order in orders):
            break  # astropy inverts without
        for name, order in zip(pair, orders, strict=True):
            if not (0 <= order <= MAX_ORDER and order == int(order)):
                said = found.values.get(f"{name}_ORDER", "unknown")
                return {}, f"SIP distortion of the order {said} is not applied"
        cards = [f"{name}_{i}_{j}" for name in pair for i in range(10) for j in range(10)]
        try:
            picked |= {key: found.number(key) for key in cards if found.has([key])}
        except UnusableError as error:
            return {}, f"SIP distortion is not applied: {error} is unreadable or absurd"
        picked |= {f"{name}_ORDER": int(n) for name, n in zip(pair, orders, strict=True)}
    return picked, ""


def _pick_tables(found: Gathered) -> dict[tuple[str, int], tuple[int, int]]:
    """Version of the extension that holds the table, and the axis that comes first in it."""
    tables = {}
    for stem, record in (("CPDIS", "DP"), ("D2IMDIS", "D2IM")):
        for n in (1, 2):
            if found.text(f"{stem}{n}") == "LOOKUP":
                version = to_number(found.values.get(f"{record}{n}.EXTVER", 1))
                axis = to_number(found.values.get(f"{record}{n}.AXIS.{n}", n))
                sane = 0 < version < 1000 and axis in (1, 2)
                tables[stem, n] = (int(version), int(axis)) if sane else (0, 0)
    return tables


def _pick_plate(found: Gathered) -> WcsCards:
    if not all(key in found.values for key in PLATE_CARDS):
        return WcsCards()
    plate = re.compile(r"PLT\w+|[XY]PIXELSZ|PPO\d|AMD[XY]\d+|CNPIX\d")
    values: dict[str, float | str] = {
        key: found.number(key) for key in found.values if plate.fullmatch(key) and key[-2:] != "SN"
    }
    sign = "-" if found.text("PLTDECSN") == "-" else "+"
    return WcsCards({**values, "PLTDECSN": sign, **_name_system(found)})
