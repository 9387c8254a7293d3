"""Which HDUs of a FITS file hold the image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from galmorph.errors import UnsupportedImageError
from galmorph.images.bands import NARROW_FILTER, clean_band_name, is_band_name, name_bands
from galmorph.images.source import TABLE_ADVICE

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

__all__ = ["HduChoice", "choose_hdus", "describe_hdus"]

MAX_HDUS = 256
"""How far into a file an image is looked for."""

NEAR = 2
"""Further HDUs whose headers are read to find out whether there are more images."""

COMPANION = re.compile(
    r"(?:.*[_ .-])?(?:ERR|SIG|STD|RMS|NOISE|UNC|VAR|INV|IVAR|WEIGHT|WT|WHT|DQ|MASK|FLAG|BAD|QUAL|"
    r"CON|CTX|EXP|COV|SKY|BACK|BKG|MODEL|RESID|PSF|WGT|MSK|TIME|SAMP|AREA|STAT|CHI|SEG|APER)"
    r"[A-Z]*\d*(?:[_ .-].*)?",
    re.IGNORECASE,
)
"""Names of extensions that say something of an image and are none themselves."""


@dataclass(frozen=True, slots=True)
class HduChoice:
    """HDUs to stack, in order.

    Attributes
    ----------
    hdus : tuple
        Image HDUs.
    bands : tuple of str or None
        One name per HDU where each is one band, else None.
    label : str
        For provenance: "1 (SCI)", "1-3".
    left : str
        Which further images of the same kind the file holds, in words; "" for none.
    """

    hdus: tuple[Any, ...]
    bands: tuple[str, ...] | None
    label: str
    left: str = ""


def choose_hdus(
    hdus: HDUList, wanted: int | str | tuple[int | str, ...] | None, path: str
) -> HduChoice:
    """Choose the HDUs that hold the image.

    Parameters
    ----------
    hdus : HDUList
        Open file.
    wanted : int, str, tuple of these, or None
        The user's choice; None for the first with two or more axes, together with those after it
        that hold another band of the same shape.
    path : str
        For messages.

    Raises
    ------
    UnsupportedImageError
        No image, or no such HDU; the message lists what there is.
    """
    if wanted is None:
        return _choose_first(hdus, path)
    keys = wanted if isinstance(wanted, tuple) else (wanted,)
    chosen = [_get(hdus, key, path) for key in keys]
    bands = tuple(_list_bands(chosen))
    named = len(chosen) > 1 and all(bands) and len(set(bands)) == len(bands)
    label = ", ".join(str(key) for key in keys)
    return HduChoice(tuple(chosen), bands if named else None, label)


def _choose_first(hdus: HDUList, path: str) -> HduChoice:
    images: list[tuple[int, Any]] = []
    for number, hdu in enumerate(islice(hdus, MAX_HDUS)):
        if not _is_image(hdu):
            continue
        if not images:
            images.append((number, hdu))
            if not _band_of(hdu) or len(hdu.shape) != 2:
                break
        elif tuple(hdu.shape) == tuple(images[0][1].shape):
            images.append((number, hdu))
    if not images:
        raise UnsupportedImageError(f"no HDU with a 2-D or 3-D image: {describe_hdus(hdus)}", path)
    choice = _join_bands(images)
    return replace(choice, left=_find_another(hdus, choice, start=images[0][0] + 1))


def _find_another(hdus: HDUList, choice: HduChoice, start: int) -> str:
    """An image of the same kind that was not taken, among the next few HDUs; "" for none."""
    first, *_ = choice.hdus
    with suppress(Exception):  # a damaged HDU that nobody asked for
        for number, hdu in islice(enumerate(hdus), start, start + len(choice.hdus) + NEAR):
            taken = any(hdu is one for one in choice.hdus)
            if not taken and _is_image(hdu) and _is_another(hdu, first):
                return f"not read: {_label(number, hdu)} and any after it, see --hdu"
    return ""


def _is_another(hdu: Any, first: Any) -> bool:
    """Whether an image may be of another galaxy, and not the error or mask of the first one."""
    if COMPANION.fullmatch(str(hdu.name)) or len(hdu.shape) != len(first.shape):
        return False
    if first.header.get("BITPIX", 0) < 0 < hdu.header.get("BITPIX", 0):  # whole numbers: a mask
        return False
    stem, same_stem = (str(one.name).rstrip("0123456789_- ") for one in (hdu, first))
    named_alike = bool(stem) and stem == same_stem and hdu.shape[:-2] == first.shape[:-2]
    return named_alike or tuple(hdu.shape) == tuple(first.shape)


def _join_bands(images: list[tuple[int, Any]]) -> HduChoice:
    joined: dict[str, tuple[int, Any]] = {}
    bands = _list_bands([hdu for _, hdu in images])
    for band, (number, hdu) in zip(bands, images, strict=True):
        if band and band not in joined:
            joined[band] = (number, hdu)
    if len(joined) < 2:
        number, hdu = images[0]
        return HduChoice((hdu,), None, _label(number, hdu))
    label = ", ".join(_label(number, hdu) for number, hdu in joined.values())
    return HduChoice(tuple(hdu for _, hdu in joined.values()), tuple(joined), label)


def _get(hdus: HDUList, key: int | str, path: str) -> Any:
    if isinstance(key, str) and key.lstrip("-").isdigit():
        key = int(key)
    try:
        hdu = hdus[key]
    except (KeyError, IndexError):
        raise UnsupportedImageError(f"no HDU {key!r}: {describe_hdus(hdus)}", path) from None
    if not _is_image(hdu):
        raise UnsupportedImageError(f"HDU {key!r} holds no image: {describe_hdus(hdus)}", path)
    return hdu


def _is_image(hdu: Any) -> bool:
    if not getattr(hdu, "is_image", False):
        return False
    shape = getattr(hdu, "shape", ())
    return len([n for n in shape if n > 1]) >= 2 or (len(shape) >= 2 and min(shape) >= 1)


def _band_of(hdu: Any) -> str:
    name = clean_band_name(hdu.header.get("EXTNAME", ""))
    # J0912 is a galaxy and W a weight, sooner than bands.
    meant = is_band_name(name) and name.lower() != "w" and not NARROW_FILTER.match(name)
    return _band_by_card(hdu) or (name if meant else "")


def _band_by_card(hdu: Any) -> str:
    names = (clean_band_name(hdu.header.get(key, "")) for key in ("FILTER", "BAND"))
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


def describe_hdus(hdus: HDUList) -> str:
    """One line on what a file holds, as in ``HDU 0: no data, HDU 1 (CAT): table``."""
    words = []
    advice = ""
    for number, hdu in enumerate(islice(hdus, 8)):
        is_image = getattr(hdu, "is_image", False)
        shape: tuple[int, ...] | None = getattr(hdu, "shape", ()) if is_image else None
        if hasattr(hdu, "columns") and shape is None:
            kind, advice = "table", f" ({TABLE_ADVICE})"
        elif shape is None:
            kind = "neither image nor table"
        elif len(shape) == 1:
            kind = f"{shape[0]} values in a row"
        else:
            kind = "x".join(map(str, shape[::-1])) or "no data"
        words.append(f"HDU {_label(number, hdu)}: {kind}")
    return "the file has " + (", ".join(words) or "no HDU that can be read") + advice
