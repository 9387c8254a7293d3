"""Images in memory: whatever Python has, and the bytes that a container gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from galmorph.errors import GalmorphError
from galmorph.images.cutout import Cutout
from galmorph.images.decode import decode_image
from galmorph.images.source import Lost, Source
from galmorph.settings import ReadOptions


@dataclass(frozen=True, slots=True)
class InMemory:
    """Bytes, a binary file object, or anything that `cutout_from_object` takes.

    The address is that of the container it came from, "" where there is none.
    """

    object_id: str
    data: Any
    address: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)

    def read(self, options: ReadOptions) -> Cutout:
        """Decode bytes, and make a cutout of everything else."""
        data = self.data
        if hasattr(data, "read") and not hasattr(data, "wcs"):  # a file; CCDData reads otherwise
            data = data.read(options.max_bytes + 1)
        if isinstance(data, (bytes, bytearray, memoryview)):
            return decode_image(bytes(data), options)
        from galmorph.images.objects import cutout_from_object

        return cutout_from_object(data, options)

    def read_head(self, count: int) -> bytes:
        """First bytes of what holds the pixels."""
        return bytes(self.data[:count]) if isinstance(self.data, (bytes, bytearray)) else b""


_READ_BEFORE = GalmorphError("the pixels were read before, and are not kept")


def drop_pixels(source: Source) -> Source:
    """The same row-to-be without pixels, or a copy of its file, for what is kept after reading."""
    if not isinstance(source, InMemory) and not hasattr(source, "copy"):
        return source
    return Lost(source.object_id, source.address, _READ_BEFORE, source.columns)
