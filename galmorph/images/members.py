"""Members of archives, each read by itself from any thread or process."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from galmorph.errors import ImageTooLargeError, UnreadableImageError
from galmorph.images.compressed import decompress
from galmorph.images.cutout import Cutout
from galmorph.images.decode import decode_image
from galmorph.images.files import IMAGE_SUFFIXES, open_regular, read_bytes, read_head
from galmorph.images.source import Source, make_printable
from galmorph.settings import ReadOptions

ZIP_HEADER = 30
"""Bytes of a member's own header in a zip archive, ahead of its name and attributes."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive: where its bytes stand, how they are packed, and what they should be.

    In a zip archive (of which the checksum is known) they stand behind a header of their own.
    """

    object_id: str
    path: str
    member: str
    offset: int
    packed: int
    method: str = ""
    size: int = 0
    checksum: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``shard.tar::name.jpg``."""
        return f"{self.path}::{self.member}"

    def read(self, options: ReadOptions) -> Cutout:
        """Read its bytes alone."""
        if self.size > options.max_bytes:
            raise ImageTooLargeError(f"{self.size} bytes are more than max_pixels allows for")
        with open_regular(self.path, options.within) as (descriptor, _):
            start = self._find_start(os.pread(descriptor, ZIP_HEADER, self.offset))
            data = read_bytes(descriptor, self.packed, options, start)
        if len(data) < self.packed:
            raise UnreadableImageError("the file ends inside this member")
        if self.method:
            data = decompress(data, self.method, limit=self.size)
        if self.checksum is not None and zlib.crc32(data) != self.checksum:
            raise UnreadableImageError("the zip archive is damaged in this member")
        if not data:
            raise UnreadableImageError("the file is empty")
        return decode_image(data, options)

    def read_head(self, count: int) -> bytes:
        """First bytes of what holds the pixels, where they are not packed."""
        start = self._find_start(read_head(self.path, ZIP_HEADER, self.offset))
        return b"" if self.method else read_head(self.path, min(count, self.packed), start)

    def _find_start(self, header: bytes) -> int:
        if self.checksum is None:
            return self.offset
        names = (int.from_bytes(header[n : n + 2], "little") for n in (26, 28))
        return self.offset + ZIP_HEADER + sum(names)


def is_image_name(name: str) -> bool:
    """Whether a member is listed; labels, metadata and hidden names are not."""
    base = name.rpartition("/")[2].lower()
    return not base.startswith(".") and base.endswith(IMAGE_SUFFIXES)


def pick_member(sources: Iterator[Source], path: str, member: str) -> Iterator[Source]:
    """The first of that name; of a damaged archive what says so."""
    for source in sources:
        if source.address in (f"{path}::{member}", path):
            yield source
            return
    raise UnreadableImageError("there is no such member", make_printable(f"{path}::{member}"))
