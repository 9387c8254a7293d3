"""Zip archives of images, read in place."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.members import Member, is_image_name
from galmorph.images.source import NEW_COPY, Lost, Source, make_object_id, make_printable, to_text

METHODS = {zipfile.ZIP_STORED: "", zipfile.ZIP_DEFLATED: "deflate", zipfile.ZIP_BZIP2: "bzip2"}
ENCRYPTED = 1


def open_zip(path: str) -> zipfile.ZipFile:
    """The directory of an archive; closed with its last reference."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UnreadableImageError(f"not a zip archive, or cut short; {NEW_COPY}") from error


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the image members of a zip archive, or the one of that name; others are passed over."""
    with open_zip(path) as archive:
        infos = archive.infolist()
    wanted = [
        info
        for info in infos
        if (info.filename == member if member else is_image_name(info.filename))
    ]
    if member and not wanted:
        raise UnreadableImageError("there is no such member", make_printable(f"{path}::{member}"))
    return (_locate(info, path) for info in wanted)


def _locate(info: zipfile.ZipInfo, path: str) -> Source:
    object_id, method = make_object_id(info.filename), METHODS.get(info.compress_type)
    if method is None or info.flag_bits & ENCRYPTED:
        how = "encrypted" if info.flag_bits & ENCRYPTED else "packed in a rare way"
        error = UnsupportedImageError(f"{how}, which is not read; pack it by deflate")
        return Lost(object_id, f"{path}::{to_text(info.filename)}", error)
    return Member(
        *(object_id, path, info.filename, info.header_offset),
        *(info.compress_size, method, info.file_size, info.CRC),
    )
