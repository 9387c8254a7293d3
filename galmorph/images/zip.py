"""Zip archives of images, read in place: each member by itself, from any thread or process."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from galmorph.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from galmorph.images.compressed import decompress
from galmorph.images.cutout import Cutout
from galmorph.images.decode import decode_image
from galmorph.images.files import IMAGE_SUFFIXES, open_regular, read_head
from galmorph.images.source import NEW_COPY, Lost, Source, make_object_id, make_printable, to_text
from galmorph.settings import ReadOptions

__all__ = ["ZipMember", "list_items"]

METHODS = {zipfile.ZIP_STORED: "", zipfile.ZIP_DEFLATED: "deflate", zipfile.ZIP_BZIP2: "bzip2"}
LOCAL_HEADER = 30
ENCRYPTED = 1


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member of a zip archive: where its own header stands, and what the directory says."""

    object_id: str
    path: str
    member: str
    header: int
    packed: int
    size: int
    method: str
    checksum: int
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``cutouts.zip::name.jpg``."""
        return f"{self.path}::{self.member}"

    def read(self, options: ReadOptions) -> Cutout:
        """Unpack it alone, and see that it is what was packed."""
        shown = make_printable(self.address)
        if max(self.packed, self.size) > options.max_bytes:
            raise ImageTooLargeError(f"{self.size} bytes are more than max_pixels allows for")
        with open_regular(self.path, shown, options.within) as (descriptor, _):
            names = _count_names(os.pread(descriptor, LOCAL_HEADER, self.header))
            data = os.pread(descriptor, self.packed, self.header + names)
        if self.method:
            data = decompress(data, self.method, limit=self.size, path=shown)
        if zlib.crc32(data) != self.checksum:
            raise UnreadableImageError("the zip archive is damaged in this member", shown)
        return decode_image(data, options=options, object_id=self.object_id, path=shown)

    def read_head(self, count: int) -> bytes:
        """First bytes of what holds the pixels, where they are not packed."""
        names = _count_names(read_head(self.path, LOCAL_HEADER, self.header))
        return b"" if self.method else read_head(self.path, count, self.header + names)


def _count_names(header: bytes) -> int:
    """Length of a member's own header, with the name and the attributes behind it."""
    return LOCAL_HEADER + sum(int.from_bytes(header[n : n + 2], "little") for n in (26, 28))


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the image members of a zip archive, or the one of that name; others are passed over."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        reason = f"not a zip archive, or cut short; {NEW_COPY}"
        raise UnreadableImageError(reason, make_printable(path)) from error
    found = False
    for info in infos:
        name = info.filename.rpartition("/")[2].lower()
        wanted = info.filename == member if member else name.endswith(IMAGE_SUFFIXES)
        if wanted and not name.startswith(".") and not info.is_dir():
            found = True
            yield _locate(info, path)
    if member and not found:
        raise UnreadableImageError("there is no such member", make_printable(f"{path}::{member}"))


def _locate(info: zipfile.ZipInfo, path: str) -> Source:
    object_id, method = make_object_id(info.filename), METHODS.get(info.compress_type)
    if method is None or info.flag_bits & ENCRYPTED:
        address = f"{path}::{to_text(info.filename)}"
        how = "encrypted" if info.flag_bits & ENCRYPTED else f"packed by {info.compress_type}"
        error = UnsupportedImageError(f"{how}, which is not read", make_printable(address))
        return Lost(object_id, address, error)
    return ZipMember(
        *(object_id, path, info.filename, info.header_offset),
        *(info.compress_size, info.file_size, method, info.CRC),
    )
