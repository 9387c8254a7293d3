"""Which HDUs of a FITS file hold the image."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from galmorph.errors import UnsupportedImageError
from galmorph.images.bands import NARROW_FILTER, clean_band_name, is_band_name, name_bands
from galmorph.images.calibration import Calibration
from galmorph.images.cutout import find_image_shape
from galmorph.images.fits_files import MAX_HDUS, Cards
from galmorph.images.source import HDU_ADDRESS, TABLE_ADVICE
from galmorph.remote import is_url

EXPOSURE_CARDS = ("IMAGETYP", "IMGTYPE", "OBSTYPE")
NAME_CARDS = ("EXTNAME", "HDUNAME", "EXTTYPE", "IMTYPE", "PRODTYPE", "DATATYPE", "CONTENT")
KIND_CARDS = (*NAME_CARDS, *EXPOSURE_CARDS, "HDUCLAS1", "HDUCLAS2", "HDUCLAS3")
COMPANION = re.compile(  # says something of an image, and is none itself
    r"(?:.*[_ .-])?(?:[A-Z]*(?:WEIGHT|WHT|MASK|MSK|PSF)|WT|WGT|ERR(?:ORS?)?|SIG(?:MA)?|STD(?:DEV)?|"
    r"RMS|NOISE|UNC(?:ERT[A-Z]*)?|VAR(?:IANCES?)?|INV(?:VAR|ERSE[A-Z]*)?|IVAR|IVM|DQ[A-Z]?|FLAGS?|"
    r"FLG|BAD(?:PIX[A-Z]*)?|QUAL(?:ITY)?|CON(?:TEXT|F(?:IDENCE)?)?|CTX|N?EXP(?:TIME|OSURES?)?|"
    r"COV(?:ERAGE|AR[A-Z]*)?|SKY|BACK(?:GROUND)?|BKG|MODEL|RESID[A-Z]*|TIME|SAMP(?:LES)?|AREA|STAT|"
    r"CHI(?:SQ[A-Z]*)?|SEG(?:M|MENT[A-Z]*)?|APER(?:TURES?)?|FOOTPRINT|DEPTH|THUMB(?:NAIL)?|PREVIEW|"
    r"KERNEL|BPM|NOBS|NCOMBINE|(?:EFF)?GAIN|FLAT(?:FIELD)?|DARK|BIAS|BEAM|ZPT|PSFEX)"
    r"(?:_?(?:MAP|IMAGE|IMG|MODEL))?\d*(?:[_ .-](?!SUB).*)?",
    re.IGNORECASE,
)
# In place of the name of a galaxy, as GALFIT writes it.
MADE_OF_IT = re.compile(r"(?:model|residuals?|sigma|mask|psf)(?: (?:map|image))?", re.IGNORECASE)
EXPOSURE = re.compile(r"EXP(?:OSURE)?|SKY", re.IGNORECASE)  # a kind of exposure, but as a name
SCIENCE = re.compile(
    r"(?:.*[_ .-])?(?:SCI|SCIENCE|IMAGE|IMG|DATA|COADD|FLUX|SIGNAL|INTENSITY|STACK|MOSAIC)\d*"
    r"(?:[_ .-].*)?",
    re.IGNORECASE,
)
SECTION = re.compile(r"[*:]")
UNNAMED = ("PRIMARY", "COMPRESSED_IMAGE")
DISTORTIONS = ("WCSDVARR", "D2IMARR")  # tables of shifts in pixels
ROUNDED_PIXELS = 2
SMALL_SIDE, SMALL_SHARE = 32, 4  # a side below this, and so many times shorter than others


@dataclass(frozen=True, slots=True)
class HduChoice:
    """What is to be read of a file, whichever part of the sky: HDUs to stack, in order."""

    hdus: tuple[Any, ...]
    bands: tuple[str, ...] | None  # one name per HDU where each is one band
    notes: Mapping[str, str]  # which they are, as "1 (SCI)", and what else the file may hold
    headers: Sequence[Cards] = ()
    calibrations: Sequence[Calibration] = ()
    skies: list[tuple[Any, str]] = field(default_factory=list)  # WCS, remark; once they are needed


def choose_hdus(hdus: Any, wanted: int | str | tuple[int | str, ...] | None) -> HduChoice:
    """Choose the HDUs that hold the image: those wanted, or the first and its other bands."""
    if wanted in (None, "each"):
        return _choose_first(hdus)
    keys = wanted if isinstance(wanted, tuple) else (wanted,)
    chosen = [_get(hdus, key) for key in keys]
    bands = tuple(_list_bands(chosen))
    named = len(chosen) > 1 and all(bands) and len(set(bands)) == len(bands)
    notes = {"hdu": ", ".join(map(str, keys))}
    return HduChoice(tuple(chosen), bands if named else None, notes)


def split_hdu(path: str) -> tuple[str, str]:
    """File and HDU of ``path.fits[SCI]``, ``[3]`` or ``[SCI,2]``; "" for the path of a file."""
    found = HDU_ADDRESS.fullmatch(path) if path.endswith("]") else None
    if found is None or (
        not is_url(path) and (os.path.lexists(path) or not os.path.isfile(found["file"]))
    ):
        return path, ""
    return found["file"], found["hdu"]


def list_galaxies(
    hdus: Any, *, limit: int | None = MAX_HDUS, small_side: int = SMALL_SIDE
) -> tuple[list[tuple[int, Any]], str]:
    """Images that may be of galaxies, with their numbers, and a remark where this is doubtful."""
    images: list[tuple[int, Any]] = []
    try:
        images += (pair for pair in enumerate(islice(hdus, limit)) if _is_image(pair[1]))
    except Exception:  # a damaged HDU that nobody asked for
        if not images:
            raise
    real = [pair for pair in images if not _is_companion(pair[1])]
    if images and not real:
        label = _label(*images[0])
        return images[:1], f"HDU {label} is no image of a galaxy by its name, but there is no other"
    sides = [min(find_image_shape(hdu.shape)) for _, hdu in real]
    longest = max(sides, default=0)
    real = [
        pair
        for pair, side in zip(real, sides, strict=True)
        if side >= small_side or side * SMALL_SHARE > longest
    ]
    return (len(real) > 1 and [pair for pair in real if _is_science(pair[1])]) or real, ""


def _choose_first(hdus: Any) -> HduChoice:
    images, remark = list_galaxies(hdus)
    if not images:
        raise UnsupportedImageError(f"no HDU with a 2-D or 3-D image: {describe_hdus(hdus)}")
    _, first = images[0]
    said = {"message": remark} if remark else {}
    if len(images) == 1:
        return HduChoice((first,), None, {"hdu": _label(*images[0]), **said})
    alike = [pair for pair in images if _is_alike(pair[1].shape, first.shape)]
    choice = _join_bands(alike if _band_of(first) and len(first.shape) == 2 else images[:1])
    floats = first.header.get("BITPIX", 0) < 0
    others = [  # that may be of other galaxies, and no mask of the first one
        (number, hdu)
        for number, hdu in images
        if not any(hdu is one for one in choice.hdus)
        and not (floats and hdu.header.get("BITPIX", 0) > 0)
        and tuple(hdu.shape[:-2]) == tuple(first.shape[:-2])
    ]
    notes = dict(choice.notes)
    if others:
        named = ", ".join(_label(*pair) for pair in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        taken = f"{notes['hdu']} of {len(others) + 1} taken"
        notes["more_images"] = f"{taken}; not read: {named}{more}, see --hdu each"
    return replace(choice, notes=notes | said)


def _is_alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    steps = [abs(a - b) for a, b in zip(one, other, strict=False)]
    return len(one) == len(other) and max(steps) <= ROUNDED_PIXELS


def _is_companion(hdu: Any) -> bool:
    cards = Cards(hdu.header)
    values = {key: str(cards.get(key, "")).strip() for key in KIND_CARDS}
    return MADE_OF_IT.fullmatch(str(cards.get("OBJECT", "")).strip()) is not None or any(
        COMPANION.fullmatch(value) and not (key in EXPOSURE_CARDS and EXPOSURE.fullmatch(value))
        for key, value in values.items()
        if value
    )


def _is_science(hdu: Any) -> bool:
    cards = Cards(hdu.header)
    values = (str(cards.get(key, "")).strip() for key in NAME_CARDS)
    return any(SCIENCE.fullmatch(value) for value in values if value.upper() not in UNNAMED)


def _join_bands(images: list[tuple[int, Any]]) -> HduChoice:
    joined: dict[str, tuple[int, Any]] = {}
    bands = _list_bands([hdu for _, hdu in images])
    for band, (number, hdu) in zip(bands, images, strict=True):
        if band and band not in joined:
            joined[band] = (number, hdu)
    if len(joined) < 2:
        return HduChoice((images[0][1],), None, {"hdu": _label(*images[0])})
    label = ", ".join(_label(*pair) for pair in joined.values())
    return HduChoice(tuple(hdu for _, hdu in joined.values()), tuple(joined), {"hdu": label})


def _get(hdus: Any, key: int | str) -> Any:
    found: Any = key
    if isinstance(key, str):
        name, _, version = (part.strip() for part in key.rpartition(","))
        if name and version.isdigit():
            found = (name, int(version))
        elif key.strip().lstrip("-").isdigit():
            found = int(key)
    try:
        hdu = hdus[found]
    except (KeyError, IndexError):
        reason = f"no HDU {key!r}: {describe_hdus(hdus)}"
        if SECTION.search(str(key)):
            reason = f"[{key}] is a section, which is not read; give --center and --fov instead"
        raise UnsupportedImageError(reason) from None
    if not _is_image(hdu):
        raise UnsupportedImageError(f"HDU {key!r} holds no image: {describe_hdus(hdus)}")
    return hdu


def _is_image(hdu: Any) -> bool:
    if not getattr(hdu, "is_image", False) or str(hdu.name).upper() in DISTORTIONS:
        return False
    shape = getattr(hdu, "shape", ())
    return len([n for n in shape if n > 1]) >= 2 or (len(shape) >= 2 and min(shape) >= 1)


def _band_of(hdu: Any) -> str:
    text = str(Cards(hdu.header).get("EXTNAME", ""))
    name = "" if " " in text.strip() else clean_band_name(text)
    # J0912 is a galaxy and W a weight, sooner than bands.
    meant = is_band_name(name) and name.lower() != "w" and not NARROW_FILTER.match(name)
    return _band_by_card(hdu) or (name if meant else "")


def _band_by_card(hdu: Any) -> str:
    cards = Cards(hdu.header)
    names = (clean_band_name(cards.get(key, "")) for key in ("FILTER", "BAND"))
    return next(filter(is_band_name, names), "")


def _list_bands(hdus: Sequence[Any]) -> list[str]:
    """Band of each HDU, "" for none; extensions that astropy has written are in capitals."""
    bands = [_band_of(hdu) for hdu in hdus]
    free = [n for n, hdu in enumerate(hdus) if bands[n] and not _band_by_card(hdu)]
    for n, name in zip(free, name_bands(bands[n] for n in free), strict=True):
        bands[n] = name
    return bands


def _label(number: int, hdu: Any) -> str:
    name = str(getattr(hdu, "name", "")).strip()
    return f"{number} ({name})" if name and name != "PRIMARY" else str(number)


def describe_hdus(hdus: Any) -> str:
    """One line on what a file holds, as in ``HDU 0: no data, HDU 1 (CAT): table``."""
    words = []
    for number, hdu in enumerate(islice(hdus, 8)):
        shape: Any = getattr(hdu, "shape", ()) if getattr(hdu, "is_image", False) else None
        if shape is None:
            kind = "table" if hasattr(hdu, "columns") else "neither image nor table"
        elif len(shape) == 1:
            kind = f"{shape[0]} values in a row"
        else:
            kind = "x".join(map(str, shape[::-1])) or "no data"
        words.append(f"HDU {_label(number, hdu)}: {kind}")
    advice = f" ({TABLE_ADVICE})" if any(word.endswith(": table") for word in words) else ""
    return "the file has " + (", ".join(words) or "no HDU that can be read") + advice
