"""Names of photometric bands: as headers spell them, and their order in wavelength."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from galmorph.errors import BandError

__all__ = [
    "RENDERED_NAMES",
    "UNKNOWN_BAND",
    "choose_planes",
    "clean_band_name",
    "find_band_names",
    "is_band_name",
    "sort_by_wavelength",
]

UNKNOWN_BAND = "unknown"
RENDERED_NAMES = ("red", "green", "blue")

CENTRAL_WAVELENGTHS = {
    "FUV": 154, "NUV": 232, "u": 355, "U": 365, "B": 445, "blue": 450, "g": 477, "V": 551,
    "green": 550, "r": 623, "red": 650, "R": 658, "VIS": 715, "i": 763, "I": 806, "N": 668,
    "z": 913, "Z": 877, "y": 980, "Y": 1020, "J": 1250, "H": 1635, "K": 2200, "Ks": 2150,
    "W1": 3353, "W2": 4603, "W3": 11561, "W4": 22088,
}  # fmt: skip
"""Nanometres, rounded; only the order is used (SVO Filter Profile Service, effective values)."""

SURVEY_PREFIX = re.compile(
    r"^(?:sdss|hsc|des|decam|ps1|panstarrs|kids|lsst|cfht|wise|nisp|legacysurvey)[-_. ]+",
    re.IGNORECASE,
)
SPACE_WIDE_FILTER = re.compile(r"^F(\d{3,4})(?:W|N|M|LP|X)2?$", re.IGNORECASE)
HUBBLE_OPTICAL = frozenset(
    (218, 225, 275, 336, 390, 435, 438, 450, 467, 475, 502, 547, 550, 555, 606, 621, 625, 631, 645,
     656, 657, 658, 665, 673, 680, 689, 702, 763, 775, 791, 814, 845, 850, 892, 953)
)  # fmt: skip
MAX_NAMED_PLANES = 64


def clean_band_name(name: object) -> str:
    """Shorten a header's filter name to the usual one.

    Parameters
    ----------
    name : object
        Value of a header card.

    Returns
    -------
    str
        "" where nothing is left.

    Examples
    --------
    >>> clean_band_name("g DECam SDSS c0001 4720.0 1520.0"), clean_band_name("HSC-R")
    ('g', 'r')
    """
    text = str(name).strip()
    bare = SURVEY_PREFIX.sub("", text)
    word = bare.split()[0] if bare.split() else ""
    if bare != text and len(word) == 1 and word.lower() in "ugrizy":
        return word.lower()
    return word


def is_band_name(name: str) -> bool:
    """Whether a name is that of a known band ("g", "Ks", "W1", "F814W")."""
    return name in CENTRAL_WAVELENGTHS or bool(SPACE_WIDE_FILTER.match(name))


def find_band_names(header: Mapping[str, Any], planes: int) -> tuple[str, ...] | None:
    """Find the names of the planes in a header.

    Looked for in this order: ``BANDS``, ``BAND0``... or ``BAND1``..., ``FILTER1``..., ``FILTER``
    (as many names as planes, as in "grz" or "g,r,z"), ``CTYPE3``.

    Parameters
    ----------
    header : mapping
        Header cards.
    planes : int
        How many names are needed.

    Returns
    -------
    tuple of str or None
        None where the header does not say.
    """
    if planes > MAX_NAMED_PLANES:
        return None
    for names in (
        _from_list(header.get("BANDS"), planes),
        _from_numbered(header, "BAND", 0, planes),
        _from_numbered(header, "BAND", 1, planes),
        _from_numbered(header, "FILTER", 1, planes) if planes > 1 else None,
        _from_single(header, planes),
        _from_list(header.get("FILTER"), planes) if planes > 1 else None,
        _from_list(header.get("CTYPE3"), planes) if planes > 1 else None,
    ):
        if names is not None and len(set(names)) == planes:
            return names
    return None


def _from_list(value: object, planes: int) -> tuple[str, ...] | None:
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    if text.upper() == "RGB" and planes == 3:
        return RENDERED_NAMES
    names = [clean_band_name(word) for word in re.split(r"[,;|/\s]+", text) if word]
    if len(names) == planes and all(is_band_name(name) for name in names):
        return tuple(names)
    if len(names) == 1 and len(text) == planes and all(is_band_name(char) for char in text):
        return tuple(text)
    lowered = text.lower()
    if len(names) == 1 and len(text) == planes and all(is_band_name(char) for char in lowered):
        return tuple(lowered)
    return None


def _from_numbered(
    header: Mapping[str, Any], stem: str, first: int, planes: int
) -> tuple[str, ...] | None:
    names = [clean_band_name(header.get(f"{stem}{first + n}", "")) for n in range(planes)]
    return tuple(names) if all(names) else None


def _from_single(header: Mapping[str, Any], planes: int) -> tuple[str, ...] | None:
    if planes != 1:
        return None
    for key in ("FILTER", "BAND", "FILTERX", "FILTNAM", "FILTER1", "FILTER2"):
        name = clean_band_name(header.get(key, ""))
        if name and not name.upper().startswith("CLEAR"):  # the empty one of Hubble's two wheels
            return (name,)
    return None


def choose_planes(
    named: tuple[str, ...] | None, wanted: Sequence[str] | None, planes: int, where: str
) -> tuple[tuple[str, ...], list[int] | None]:
    """Settle names and choice of planes between the file and the user.

    Parameters
    ----------
    named : tuple of str or None
        Names from the file.
    wanted : sequence of str or None
        Names from the user: a choice where the file has names, else the names themselves.
    planes : int
        Planes in the file.
    where : str
        File, for the message.

    Returns
    -------
    names : tuple of str
    indices : list of int or None
        Planes to take; None for all in order.

    Raises
    ------
    BandError
        No names for several planes, or names that are not there.
    """
    if named is not None and wanted is not None:
        missing = [band for band in wanted if band not in named]
        if missing:
            raise BandError(
                f"{where}: no band {', '.join(missing)}; the file has {', '.join(named)}"
            )
        return tuple(wanted), [named.index(band) for band in wanted]
    if wanted is not None:
        if len(wanted) != planes:
            raise BandError(
                f"{where}: {len(wanted)} band names ({', '.join(wanted)}) for {planes} planes"
            )
        return tuple(wanted), None
    if named is not None:
        return named, None
    if planes == 1:
        return (UNKNOWN_BAND,), None
    raise BandError(
        f"{where}: {planes} planes without band names (not as many in BANDS, BANDn, FILTER or "
        "CTYPE3); name them in the file's order, as in --bands g,r,z"
    )


def sort_by_wavelength(bands: Sequence[str]) -> list[int]:
    """Order planes from the bluest to the reddest; unknown names keep their place at the end.

    Examples
    --------
    >>> sort_by_wavelength(("z", "g", "r"))
    [1, 2, 0]
    """
    return sorted(range(len(bands)), key=lambda n: (_wavelength(bands[n]), n))


def _wavelength(band: str) -> float:
    wide = SPACE_WIDE_FILTER.match(band)
    if wide is None:
        return float(CENTRAL_WAVELENGTHS.get(band, float("inf")))
    number = int(wide[1])
    # Hubble's optical filters count in nanometres, its infrared ones and Webb's in tens of them.
    return float(number if number in HUBBLE_OPTICAL else 10 * number)
