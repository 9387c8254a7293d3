"""Archives of images, tar and zip, read without extracting; a compressed tar from its start."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from tarfile import TarFile, TarInfo
from typing import Any, BinaryIO, cast

from galmorph.errors import (
    ImageError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.compressed import Unpacker, decompress, find_method
from galmorph.images.cutout import Cutout
from galmorph.images.files import IMAGE_SUFFIXES, open_regular, read_bytes, read_head
from galmorph.images.library import MAX_BYTES, reading
from galmorph.images.memory import InMemory
from galmorph.images.raster import decode_image
from galmorph.images.source import NEW_COPY, Lost, Source, make_object_id, make_printable, to_text
from galmorph.settings import ReadOptions

METHODS = {zipfile.ZIP_STORED: "", zipfile.ZIP_DEFLATED: "deflate", zipfile.ZIP_BZIP2: "bzip2"}
ENCRYPTED = 1
ZIP_HEADER = 30  # bytes of a member's own header in a zip, ahead of its name
MAX_HEADER_BYTES = 1 << 20  # of one header with its long names and attributes
HELD_MEMBER_BYTES = 16 << 20  # larger members of compressed tars take as much of the file
MEMBER_RATIO = 8  # of its bytes to those that it takes, at most


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive: where its bytes stand, how they are packed, what they should be."""

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
        start = self._find_start(read_head(self.path, ZIP_HEADER, self.offset))
        return b"" if self.method else read_head(self.path, min(count, self.packed), start)

    def _find_start(self, header: bytes) -> int:
        if self.checksum is None:
            return self.offset
        names = (int.from_bytes(header[n : n + 2], "little") for n in (26, 28))
        return self.offset + ZIP_HEADER + sum(names)


def list_items(path: str, member: str) -> Iterator[Source]:
    """List the image members of an archive, or one; what is damaged is a source that raises."""
    wanted = member.__eq__ if member else _is_image_name
    sources = (_list_zip if path.lower().endswith(".zip") else _list_tar)(path, wanted)
    if not member:
        yield from sources
    elif (first := next(sources, None)) is not None:
        yield first
    else:
        raise UnreadableImageError("there is no such member", make_printable(f"{path}::{member}"))


def _is_image_name(name: str) -> bool:
    """Whether a member is listed; labels, metadata and hidden names are not."""
    base = name.rpartition("/")[2].lower()
    return not base.startswith(".") and base.endswith(IMAGE_SUFFIXES)


def open_zip(path: str) -> zipfile.ZipFile:
    """The directory of an archive; closed with its last reference."""
    with reading(f"not a zip archive, or cut short; {NEW_COPY}"):
        return zipfile.ZipFile(path)


def _list_zip(path: str, wanted: Callable[[str], bool]) -> Iterator[Source]:
    with open_zip(path) as archive:
        infos = [info for info in archive.infolist() if wanted(info.filename)]
    for info in infos:
        object_id, method = make_object_id(info.filename), METHODS.get(info.compress_type)
        if method is None or info.flag_bits & ENCRYPTED:
            how = "encrypted" if info.flag_bits & ENCRYPTED else "packed in a rare way"
            error = UnsupportedImageError(f"{how}, which is not read; pack it by deflate")
            yield Lost(object_id, f"{path}::{to_text(info.filename)}", error)
        else:
            place = info.header_offset, info.compress_size
            yield Member(object_id, path, info.filename, *place, method, info.file_size, info.CRC)


class _Headers:
    """The file as `tarfile` sees it, which would hold a name of any length in memory."""

    def __init__(self, file: BinaryIO | Unpacker) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._read(size)


def _list_tar(path: str, wanted: Callable[[str], bool]) -> Iterator[Source]:
    with open(path, "rb") as file:
        method, tar = find_method(file.read(8)), None
        file.seek(0)
        stream = Unpacker(file, method) if method else None
        try:
            tar = TarFile(fileobj=cast("BinaryIO", _Headers(stream or file)))
            while member := tar.next():
                # or a shard of a million files would keep a million headers
                tar.members.clear()  # type: ignore[attr-defined]
                source = _make_source(member, path, stream) if wanted(member.name) else None
                if source is not None:
                    yield source
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            why = f" ({error.reason})" if isinstance(error, ImageError) else ""
            if tar is None:
                raise UnreadableImageError(f"not a tar file, or damaged{why}") from error
            said = f"is damaged or cut short; its further members are lost{why}"
            yield Lost(make_object_id(path), path, UnreadableImageError(f"the tar file {said}"))


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
    if member.size > MAX_BYTES:
        # To pass over it, all of it would have to be unpacked.
        said = f"{make_printable(member.name)} is said to have {member.size} bytes"
        raise ImageTooLargeError(said)
    stream.seek(member.offset_data)
    data, before = bytearray(), stream.taken
    while missing := member.size - len(data):
        if not (part := stream.read(min(missing, HELD_MEMBER_BYTES))):
            raise EOFError("the file ends inside a member")
        data += part
        if len(data) > max(HELD_MEMBER_BYTES, MEMBER_RATIO * (stream.taken - before)):
            reason = f"{member.size} bytes are too much of a compressed tar; unpack it first"
            return ImageTooLargeError(reason)
    return bytes(data)
