"""Tar shards of images (WebDataset style), read without extracting.

Members of an uncompressed tar are listed by offset and size, so that any number of threads or
processes can read them directly. A compressed tar can only be read from the start, and its members
travel as bytes.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from lzma import LZMAError
from typing import TYPE_CHECKING, Any

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.cutout import Cutout
from galmorph.images.decode import decode_image
from galmorph.images.files import IMAGE_SUFFIXES, open_regular, read_head, read_part
from galmorph.images.memory import InMemory
from galmorph.images.source import Lost, Source, make_object_id, make_printable
from galmorph.settings import ReadOptions

if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo

__all__ = ["TarMember", "list_items"]

TAR_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, LZMAError)
MAX_MEMBER_BYTES = ReadOptions().max_bytes


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
        with open_regular(self.path, shown) as (descriptor, whole):
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

    Raises
    ------
    UnreadableImageError
        Not a tar file at all, or without that member.
    """
    members = _list_members(path)
    return _pick_member(members, path, member) if member else members


def _pick_member(members: Iterator[Source], path: str, member: str) -> Iterator[Source]:
    for source in members:
        if source.address in (f"{path}::{member}", path):  # the latter where it is damaged
            yield source
            return
    raise UnreadableImageError("there is no such member", make_printable(f"{path}::{member}"))


def _list_members(path: str) -> Iterator[Source]:
    plain = path.lower().endswith(".tar")
    try:
        tar = tarfile.open(path, "r:" if plain else "r|*")  # noqa: SIM115
    except TAR_ERRORS as error:
        raise UnreadableImageError(f"not a tar file ({error})", make_printable(path)) from error
    with tar:
        yield from _list_open(tar, path, plain)


def _list_open(tar: TarFile, path: str, plain: bool) -> Iterator[Source]:
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
            if member.islnk() or member.issym():
                source = _refuse_link(member, path)
            elif member.isreg():
                source = _locate(member, path) if plain else _extract(tar, member, path)
            else:
                continue
        except TAR_ERRORS as error:
            yield _broken(path, error)
            return
        yield source


def _locate(member: TarInfo, path: str) -> Source:
    object_id = make_object_id(member.name)
    return TarMember(object_id, path, member.name, member.offset_data, member.size)


def _extract(tar: TarFile, member: TarInfo, path: str) -> Source:
    if member.size > MAX_MEMBER_BYTES:
        # To pass over it, all of it would have to be unpacked.
        raise ValueError(f"{make_printable(member.name)} is said to have {member.size} bytes")
    stream = tar.extractfile(member)
    data = stream.read() if stream is not None else b""
    if len(data) < member.size:
        raise EOFError("the file ends inside a member")
    return InMemory(make_object_id(member.name), data, f"{path}::{member.name}")


def _refuse_link(member: TarInfo, path: str) -> Source:
    target = make_printable(member.linkname)
    reason = f"a link to {target} inside a tar; pack with tar --dereference --hard-dereference"
    address = f"{path}::{member.name}"
    error = UnsupportedImageError(reason, make_printable(address))
    return Lost(make_object_id(member.name), address, error)


def _broken(path: str, error: Exception) -> Source:
    shown = make_printable(path)
    reason = f"the tar file is damaged or cut short; its further members are lost ({error})"
    return Lost(make_object_id(path), path, UnreadableImageError(reason, shown))
