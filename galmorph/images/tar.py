"""Tar shards of images (WebDataset style), read without extracting.

Members of an uncompressed tar are listed by offset and size, so that any number of threads or
processes can read them directly. A compressed tar can only be read from the start, and its members
travel as bytes.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from typing import TYPE_CHECKING

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.options import ReadOptions
from galmorph.images.source import Source, make_object_id, make_printable

if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo

__all__ = ["list_tar"]

TAR_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, LZMAError)
MAX_MEMBER_BYTES = ReadOptions().max_bytes


def list_tar(path: str) -> Iterator[Source]:
    """List the image members of a tar file in its order.

    Parameters
    ----------
    path : str
        ``*.tar``, or compressed by gzip, bzip2 or xz.

    Yields
    ------
    Source
        Members whose suffix is that of an image; others (labels, metadata, hidden names) are
        passed over. A link gives a source that raises; a tar that ends early all that came before,
        and one source that raises.

    Raises
    ------
    UnreadableImageError
        Not a tar file at all.
    """
    plain = path.lower().endswith(".tar")
    try:
        tar = tarfile.open(path, "r:" if plain else "r|*")  # noqa: SIM115
    except TAR_ERRORS as error:
        raise UnreadableImageError(f"not a tar file ({error})", make_printable(path)) from error
    with tar:
        yield from _list_open(tar, path, plain)


def _list_open(tar: TarFile, path: str, plain: bool) -> Iterator[Source]:
    from galmorph.images.discover import IMAGE_SUFFIXES

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
    return Source(
        make_object_id(member.name),
        path,
        member=member.name,
        offset=member.offset_data,
        size=member.size,
    )


def _extract(tar: TarFile, member: TarInfo, path: str) -> Source:
    object_id = make_object_id(member.name)
    if member.size > MAX_MEMBER_BYTES:
        # To pass over it, all of it would have to be unpacked.
        raise ValueError(f"{make_printable(member.name)} is said to have {member.size} bytes")
    stream = tar.extractfile(member)
    data = stream.read() if stream is not None else b""
    if len(data) < member.size:
        raise EOFError("the file ends inside a member")
    return Source(object_id, path, data=data, member=member.name)


def _refuse_link(member: TarInfo, path: str) -> Source:
    target = make_printable(member.linkname)
    reason = f"a link to {target} inside a tar; pack with tar --dereference --hard-dereference"
    error = UnsupportedImageError(reason, make_printable(f"{path}::{member.name}"))
    return Source(make_object_id(member.name), path, data=error, member=member.name)


def _broken(path: str, error: Exception) -> Source:
    shown = make_printable(path)
    reason = f"the tar file is damaged or cut short; its further members are lost ({error})"
    return Source(make_object_id(path), path, data=UnreadableImageError(reason, shown))
