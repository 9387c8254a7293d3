"""One door for every kind of cutout: file, container member, object in memory."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from typing import Any

from galmorph.errors import UnsupportedImageError
from galmorph.images.bands import is_band_name, name_bands
from galmorph.images.cutout import Cutout
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.names import find_position
from galmorph.images.source import Source, is_source, make_printable, naming
from galmorph.remote import allow, is_url, to_path
from galmorph.settings import ReadOptions

__all__ = ["read_cutout"]

DEFAULT_OPTIONS = ReadOptions()


def read_cutout(
    source: Source | str | os.PathLike[str] | Any,
    *,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Cutout:
    """Read one cutout, whatever it is kept in.

    The kind is decided by the first bytes, never by the suffix. The file is read in this process,
    which a file made to crash a decoder may end; runs over many files read in processes of their
    own and give such a file a row with the flag ``reader_crashed``.

    Parameters
    ----------
    source : Source, path, bytes, or an object in memory
        See `galmorph.images.inputs.to_sources`.
    options : ReadOptions
        How to read.

    Returns
    -------
    Cutout
        Row 0 on top; nothing is stretched or filled.

    Raises
    ------
    UnreadableImageError
        Missing, not permitted, damaged, cut short, or no image.
    UnsupportedImageError
        A readable file without an image that could be taken.
    ImageTooLargeError
        Beyond `options.max_pixels`, found before the pixels are decoded.
    BandError, AmbiguousShapeError
        Planes whose meaning is not known.
    MissingExtraError
        A library of an extra is needed.
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
        _check_region(cutout, options)
    if isinstance(source, InMemory):  # perhaps a cutout of a name of its own
        address, object_id = cutout.path or address, cutout.object_id or object_id
    path = make_printable(address)
    if (cutout.object_id, cutout.path) != (object_id, path):
        cutout = replace(cutout, object_id=object_id, path=path)
    return _note_order(_add_scale(_add_position(cutout), options), options)


@lru_cache(maxsize=8)
def _spell_bands(options: ReadOptions) -> ReadOptions:
    """The bands under their usual names."""
    return replace(options, bands=name_bands(options.bands or ()))


def _check_region(cutout: Cutout, options: ReadOptions) -> None:
    """Refuse what has no WCS where a part of the sky was asked for, lest the whole be taken."""
    if (options.center is not None or options.fov is not None) and "region" not in cutout.notes:
        raise UnsupportedImageError(
            "no WCS, so no part of the sky can be cut out; only FITS has one (for other images: "
            "the field of view without a centre, and a pixel scale)"
        )


def _add_scale(cutout: Cutout, options: ReadOptions) -> Cutout:
    if options.pixel_scale is None or cutout.pixel_scale == cutout.pixel_scale:
        return cutout
    scale = options.pixel_scale * float(cutout.notes.get("reduced", 1))
    return replace(cutout, pixel_scale=scale).note(pixel_scale="as given")


def _note_order(cutout: Cutout, options: ReadOptions) -> Cutout:
    """Say where the order of the bands is only known from the user."""
    if options.bands is None or all(map(is_band_name, cutout.bands)):
        return cutout
    return cutout.note(band_order="as given")


def _add_position(cutout: Cutout) -> Cutout:
    if cutout.ra == cutout.ra:  # not NaN: the WCS knows
        return cutout
    position = find_position(cutout.object_id)
    if position is None:
        return cutout
    named = replace(cutout, ra=position[0], dec=position[1])
    return named.note(position="from the file name")
