"""Images in memory: whatever Python has, the bytes that a container gave, rows of data sets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from galmorph.errors import GalmorphError
from galmorph.images.cutout import Cutout
from galmorph.images.raster import decode_image
from galmorph.images.source import Lost, Source
from galmorph.remote import Copy
from galmorph.settings import ReadOptions

_READ_BEFORE = GalmorphError("the pixels were read before, and are not kept")


@dataclass(frozen=True, slots=True)
class Copied:
    """A source in a copy, which is there as long as this is."""

    object_id: str
    source: Source
    copy: Copy
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.copy.rename(self.source.address)

    def read(self, options: ReadOptions) -> Cutout:
        with self.copy.naming():
            return self.source.read(replace(options, within=None))

    def read_head(self, count: int) -> bytes:
        return self.source.read_head(count)

    def move(self, copy: Copy) -> "Copied":
        """The same in another copy."""
        inner: Any = self.source
        path = inner.path.replace(self.copy.path, copy.path)
        return replace(self, source=replace(inner, path=path), copy=copy)


def list_copied(sources: Iterable[Source], copy: Copy) -> Iterator[Source]:
    """The sources of a container in a copy, under the addresses of the original."""
    with copy.naming():
        for source in sources:
            if isinstance(source, Lost):
                copy.rename_error(source.error)
            if isinstance(source, InMemory | Lost):
                yield replace(source, address=copy.rename(source.address))
            else:
                yield Copied(source.object_id, source, copy, source.columns)


@dataclass(frozen=True, slots=True)
class InMemory:
    """Bytes, a binary file object, or anything that `cutout_from_object` takes."""

    object_id: str
    data: Any
    address: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)

    def read(self, options: ReadOptions) -> Cutout:
        data = self.data
        if hasattr(data, "read") and not hasattr(data, "wcs"):  # a file; CCDData reads otherwise
            data = data.read(options.max_bytes + 1)
        if isinstance(data, (bytes, bytearray, memoryview)):
            return decode_image(bytes(data), options)
        from galmorph.images.arrays import cutout_from_object

        return cutout_from_object(data, options)

    def read_head(self, count: int) -> bytes:
        return bytes(self.data[:count]) if isinstance(self.data, (bytes, bytearray)) else b""


def drop_pixels(source: Source) -> Source:
    """The same row-to-be without pixels, or a copy of its file, for what is kept after reading."""
    if not isinstance(source, InMemory) and not hasattr(source, "copy"):
        return source
    return Lost(source.object_id, source.address, _READ_BEFORE, source.columns)
