"""Tar shards of images (WebDataset style), read without extracting.

Members of an uncompressed tar are listed by offset and size, so that any number of threads or
processes can read them directly. A compressed tar can only be read from the start, and its members
travel as bytes.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from tarfile import TarFile, TarInfo
from typing import BinaryIO, cast

from galmorph.errors import (
    ImageError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.compressed import Unpacker, find_method
from galmorph.images.members import Member, is_image_name, pick_member
from galmorph.images.memory import InMemory
from galmorph.images.source import Lost, Source, make_object_id, make_printable
from galmorph.settings import ReadOptions

MAX_HEADER_BYTES = 1 << 20
"""Of one header with its long names and attributes."""

MAX_MEMBER_BYTES = ReadOptions().max_bytes
HELD_MEMBER_BYTES = 16 << 20
"""A larger member of a compressed tar is held in memory only where it takes as much of the file."""

MEMBER_RATIO = 8
"""Of its bytes to those that it takes, at most."""


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the image members of a tar file in its order, or the first of that name.

    A link gives a source that raises; a tar that ends early all that came before, and one source
    that raises.
    """
    members = _list_members(path)
    return pick_member(members, path, member) if member else members


class _Headers:
    """The file as `tarfile` sees it, which would hold a name of any length in memory."""

    def __init__(self, file: BinaryIO | Unpacker) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._read(size)


def _list_members(path: str) -> Iterator[Source]:
    with open(path, "rb") as file:
        method = find_method(file.read(8))
        file.seek(0)
        stream = Unpacker(file, method) if method else None
        try:
            tar = TarFile(fileobj=cast("BinaryIO", _Headers(stream or file)))
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise UnreadableImageError(f"not a tar file, or damaged{_say(error)}") from error
        yield from _list_open(tar, path, stream)


def _list_open(tar: TarFile, path: str, stream: Unpacker | None) -> Iterator[Source]:
    while True:
        try:
            member = tar.next()
            # or a shard of a million files would keep a million headers
            tar.members.clear()  # type: ignore[attr-defined]
            if member is None:
                return
            source = _make_source(member, path, stream) if is_image_name(member.name) else None
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            said = f"is damaged or cut short; its further members are lost{_say(error)}"
            yield Lost(make_object_id(path), path, UnreadableImageError(f"the tar file {said}"))
            return
        if source is not None:
            yield source


def _say(error: Exception) -> str:
    """What is known in words of our own."""
    return f" ({error.reason})" if isinstance(error, ImageError) else ""


def _make_source(member: TarInfo, path: str, stream: Unpacker | None) -> Source | None:
    object_id, address = make_object_id(member.name), f"{path}::{member.name}"
    if member.islnk() or member.issym() or member.issparse():
        kind = "sparse file" if member.issparse() else f"link to {make_printable(member.linkname)}"
        reason = f"a {kind} inside a tar; pack with tar --dereference --hard-dereference"
        return Lost(object_id, address, UnsupportedImageError(reason))
    if not member.isreg():
        return None
    if stream is None:
        return Member(object_id, path, member.name, member.offset_data, member.size)
    data = _extract(stream, member)
    if isinstance(data, bytes):
        return InMemory(object_id, data, address)
    return Lost(object_id, address, data)


def _extract(stream: Unpacker, member: TarInfo) -> bytes | ImageError:
    """Bytes of a member, or what is wrong with it alone."""
    if member.size > MAX_MEMBER_BYTES:
        # To pass over it, all of it would have to be unpacked.
        said = f"{make_printable(member.name)} is said to have {member.size} bytes"
        raise ImageTooLargeError(said)
    stream.seek(member.offset_data)
    data, before = bytearray(), stream.taken
    while missing := member.size - len(data):
        part = stream.read(min(missing, HELD_MEMBER_BYTES))
        if not part:
            raise EOFError("the file ends inside a member")
        data += part
        if len(data) > max(HELD_MEMBER_BYTES, MEMBER_RATIO * (stream.taken - before)):
            reason = f"{member.size} bytes are too much of a compressed tar; unpack it first"
            return ImageTooLargeError(reason)
    return bytes(data)
