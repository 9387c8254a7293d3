"""Tar shards of images (WebDataset style), read without extracting.

Members of an uncompressed tar are listed by offset and size, so that any number of threads or
processes can read them directly. A compressed tar can only be read from the start, and its members
travel as bytes.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from tarfile import TarFile, TarInfo
from typing import Any, BinaryIO, cast

from galmorph.errors import (
    ImageError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.compressed import COMPRESSION_MAGIC, Unpacker
from galmorph.images.cutout import Cutout
from galmorph.images.decode import decode_image
from galmorph.images.files import IMAGE_SUFFIXES, open_regular, read_head, read_part
from galmorph.images.memory import InMemory
from galmorph.images.source import Lost, Source, make_object_id, make_printable
from galmorph.settings import ReadOptions

__all__ = ["TarMember", "list_items"]

MAX_HEADER_BYTES = 1 << 20
"""Of one header with its long names and attributes."""

MAX_MEMBER_BYTES = ReadOptions().max_bytes
HELD_MEMBER_BYTES = 16 << 20
"""A larger member of a compressed tar is held in memory only where it takes as much of the file."""

MEMBER_RATIO = 8
"""Of its bytes to those that it takes, at most."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member of an uncompressed tar file: its bytes stand there as they are."""

    object_id: str
    path: str
    member: str
    offset: int
    size: int
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``shard.tar::name.jpg``."""
        return f"{self.path}::{self.member}"

    def read(self, options: ReadOptions) -> Cutout:
        """Read its bytes alone."""
        shown = make_printable(self.address)
        with open_regular(self.path, shown, options.within) as (descriptor, whole):
            if self.offset + self.size > whole:
                raise UnreadableImageError("the tar file ends inside this member", shown)
            if not self.size:
                raise UnreadableImageError("the file is empty", shown)
            os.lseek(descriptor, self.offset, os.SEEK_SET)
            data = read_part(descriptor, self.size, options)
        return decode_image(data, options=options, object_id=self.object_id, path=shown)

    def read_head(self, count: int) -> bytes:
        """First bytes of what holds the pixels."""
        return read_head(self.path, min(count, self.size), self.offset)


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the image members of a tar file in its order, or the first of that name.

    Others (labels, metadata, hidden names) are passed over. A link gives a source that raises; a
    tar that ends early all that came before, and one source that raises.
    """
    members = _list_members(path)
    return _pick_member(members, path, member) if member else members


def _pick_member(members: Iterator[Source], path: str, member: str) -> Iterator[Source]:
    for source in members:
        if source.address in (f"{path}::{member}", path):  # the latter where it is damaged
            yield source
            return
    raise UnreadableImageError("there is no such member", make_printable(f"{path}::{member}"))


class _Headers:
    """The file as `tarfile` sees it, which would hold a name of any length in memory."""

    def __init__(self, file: BinaryIO | Unpacker) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._read(size)


def _list_members(path: str) -> Iterator[Source]:
    shown = make_printable(path)
    with open(path, "rb") as file:
        head = file.read(8)
        file.seek(0)
        method = next((m for magic, m in COMPRESSION_MAGIC.items() if head.startswith(magic)), "")
        stream = Unpacker(file, method, shown) if method else None
        try:
            tar = TarFile(fileobj=cast("BinaryIO", _Headers(stream or file)))
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise UnreadableImageError(f"not a tar file, or damaged{_say(error)}", shown) from error
        yield from _list_open(tar, path, stream)


def _list_open(tar: TarFile, path: str, stream: Unpacker | None) -> Iterator[Source]:
    while True:
        try:
            member = tar.next()
            # or a shard of a million files would keep a million headers
            tar.members.clear()  # type: ignore[attr-defined]
            if member is None:
                return
            name = member.name.rpartition("/")[2].lower()
            if name.startswith(".") or not name.endswith(IMAGE_SUFFIXES):
                continue
            if member.islnk() or member.issym() or member.issparse():
                source = _refuse(member, path)
            elif member.isreg():
                source = _extract(stream, member, path) if stream else _locate(member, path)
            else:
                continue
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            said = f"is damaged or cut short; its further members are lost{_say(error)}"
            lost = UnreadableImageError(f"the tar file {said}", make_printable(path))
            yield Lost(make_object_id(path), path, lost)
            return
        yield source


def _say(error: Exception) -> str:
    """What is known in words of our own."""
    return f" ({error.reason})" if isinstance(error, ImageError) else ""


def _locate(member: TarInfo, path: str) -> Source:
    object_id = make_object_id(member.name)
    return TarMember(object_id, path, member.name, member.offset_data, member.size)


def _extract(stream: Unpacker, member: TarInfo, path: str) -> Source:
    if member.size > MAX_MEMBER_BYTES:
        # To pass over it, all of it would have to be unpacked.
        said = f"{make_printable(member.name)} is said to have {member.size} bytes"
        raise ImageTooLargeError(said)
    object_id, address = make_object_id(member.name), f"{path}::{member.name}"
    stream.seek(member.offset_data)
    data, before = bytearray(), stream.taken
    while missing := member.size - len(data):
        part = stream.read(min(missing, HELD_MEMBER_BYTES))
        if not part:
            raise EOFError("the file ends inside a member")
        data += part
        if len(data) > max(HELD_MEMBER_BYTES, MEMBER_RATIO * (stream.taken - before)):
            reason = f"{member.size} bytes are too much of a compressed tar; unpack it first"
            return Lost(object_id, address, ImageTooLargeError(reason, make_printable(address)))
    return InMemory(object_id, bytes(data), address)


def _refuse(member: TarInfo, path: str) -> Source:
    address = f"{path}::{member.name}"
    kind = "sparse file" if member.issparse() else f"link to {make_printable(member.linkname)}"
    reason = f"a {kind} inside a tar; pack with tar --dereference --hard-dereference"
    error = UnsupportedImageError(reason, make_printable(address))
    return Lost(make_object_id(member.name), address, error)
