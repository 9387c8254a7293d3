"""One door for every kind of cutout: file, container member, object in memory."""

import math
import os
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

from galmorph.errors import UnsupportedImageError
from galmorph.images.bands import is_band_name, name_bands
from galmorph.images.cutout import Cutout
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.source import Source, is_source, make_printable, naming
from galmorph.remote import allow, is_url, to_path
from galmorph.settings import ReadOptions

# IAU style: J094651.40-010228.5
IAU_NAME = re.compile(
    r"(?<![A-Za-z0-9])(?:SDSS)?J(\d{2})(\d{2})(\d{2}(?:\.\d+)?)([+-])(\d{2})(\d{2})(\d{2}(?:\.\d+)?)"
)
# ra146.7142_dec-1.0413, RA=146.7142&DEC=-1.0413
KEYED_NAME = re.compile(
    r"ra[_=]?(\d{1,3}\.\d+)[^0-9A-Za-z+-]*_?dec[_=]?([+-]?\d{1,2}\.\d+)", re.IGNORECASE
)
# 146.71421_-1.04128: two decimal numbers with four places or more, and nothing else
PLAIN_NAME = re.compile(r"^(\d{1,3}\.\d{4,})[_,+ ]?([+-]?\d{1,2}\.\d{4,})$")
DEFAULT_OPTIONS = ReadOptions()


def find_position(name: str) -> tuple[float, float] | None:
    """Read a position from a name.

    >>> find_position("SDSSJ000000.00+100000.0"), find_position("587722981742084144")
    ((0.0, 10.0), None)
    """
    if "." not in name and "J" not in name:  # most names: no regular expression at all
        return None
    if found := IAU_NAME.search(name):
        hours, minutes, seconds = int(found[1]), int(found[2]), float(found[3])
        degrees, arcminutes, arcseconds = int(found[5]), int(found[6]), float(found[7])
        if max(minutes, arcminutes) >= 60 or max(seconds, arcseconds) >= 60:
            return None
        ra = 15 * (hours + minutes / 60 + seconds / 3600)
        dec = (degrees + arcminutes / 60 + arcseconds / 3600) * (-1 if found[4] == "-" else 1)
    elif found := KEYED_NAME.search(name) or PLAIN_NAME.search(name):
        ra, dec = float(found[1]), float(found[2])
    else:
        return None
    return (ra, dec) if 0 <= ra < 360 and -90 <= dec <= 90 else None


def read_cutout(
    source: Source | str | os.PathLike[str] | Any, *, options: ReadOptions = DEFAULT_OPTIONS
) -> Cutout:
    """Read one cutout of a source, a path, bytes, or an object in memory; nothing is stretched.

    The kind is decided by the first bytes, never by the suffix. The file is read in this process,
    which a file made to crash a decoder may end.
    """
    if isinstance(source, (str, os.PathLike)):
        source = ImageFile.of(to_path(os.fspath(source)))
        if is_url(source.path):
            allow(source.path)
    elif not is_source(source):
        source = InMemory("", source)
    if options.bands is not None:
        options = _spell_bands(options)
    address, object_id = source.address, source.object_id
    with naming(address):
        cutout = source.read(options)
        if not (options.center is None and options.fov is None) and "region" not in cutout.notes:
            raise UnsupportedImageError(
                "no WCS, so no part of the sky can be cut out; only FITS has one (for other "
                "images: the field of view without a centre, and a pixel scale)"
            )
    if isinstance(source, InMemory):  # perhaps a cutout of a name of its own
        address, object_id = cutout.path or address, cutout.object_id or object_id
    path = make_printable(address)
    if (cutout.object_id, cutout.path) != (object_id, path):
        cutout = replace(cutout, object_id=object_id, path=path)
    if math.isnan(cutout.ra) and (position := find_position(cutout.object_id)):
        ra, dec = position
        cutout = replace(cutout, ra=ra, dec=dec).note(position="from the file name")
    if options.pixel_scale is not None and math.isnan(cutout.pixel_scale):
        scale = options.pixel_scale * float(cutout.notes.get("reduced", 1))
        cutout = replace(cutout, pixel_scale=scale).note(pixel_scale="as given")
    if options.bands is not None and not all(map(is_band_name, cutout.bands)):
        cutout = cutout.note(band_order="as given")
    return cutout


@lru_cache(maxsize=8)
def _spell_bands(options: ReadOptions) -> ReadOptions:
    return replace(options, bands=name_bands(options.bands or ()))
