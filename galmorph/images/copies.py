"""Sources in copies of what URLs name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from galmorph.images.cutout import Cutout
from galmorph.images.memory import InMemory
from galmorph.images.source import Lost, Source
from galmorph.remote import Copy
from galmorph.settings import ReadOptions


@dataclass(frozen=True, slots=True)
class Copied:
    """A source in a copy, which is there as long as this is."""

    object_id: str
    source: Source
    copy: Copy
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """That of the original."""
        return self.copy.rename(self.source.address)

    def read(self, options: ReadOptions) -> Cutout:
        """Read it from the copy."""
        with self.copy.naming():
            return self.source.read(replace(options, within=None))

    def read_head(self, count: int) -> bytes:
        """First bytes of what holds the pixels."""
        return self.source.read_head(count)


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
