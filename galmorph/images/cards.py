"""Cards of a FITS header, whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from galmorph.images.fits_structure import UNREAD


class Cards(Mapping[str, Any]):
    """Cards of an HDU and those that it takes from another one where it lacks them.

    One that cannot be read, or has no value, is not there; `unread` names those asked for.
    """

    def __init__(self, header: Any, inherited: Mapping[str, Any] | None = None) -> None:
        self.header = header
        self.inherited = inherited or {}
        marks = header.count(UNREAD) if UNREAD in header else 0
        names = [str(header[UNREAD, n]).strip() for n in range(marks)]
        self._lost = {name: header.comments[UNREAD, n] for n, name in enumerate(names)}
        self.unread = [name for name in names if name not in ("EXTVER", "EXTLEVEL")]

    def __getitem__(self, key: str) -> Any:
        try:
            value = self.header[key]
        except KeyError:
            return self.inherited[key]
        except Exception as error:  # of astropy's parser, of many kinds
            if key not in self.unread:
                self.unread.append(key)
            raise KeyError(key) from error
        if not isinstance(value, (str, int, float)):  # without a value
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter({*self.header, *self.inherited})

    def __len__(self) -> int:
        return len(self.header)

    def find_lost(self, key: str) -> str:
        """What stands in a card that was taken away as unreadable; "" for nothing."""
        return str(self._lost.get(key, ""))
