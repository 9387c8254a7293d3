"""What must be known of a whole column before the first byte of a FITS table or VOTable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galmorph.tables.columns import ColumnSpec
from galmorph.tables.escape import escape_ascii, readable, unescape

__all__ = ["Measure"]


@dataclass(slots=True)
class Measure:
    """Running facts on the cells of one column.

    Attributes
    ----------
    fits_width : int
        Bytes of the longest string as FITS holds it (see `galmorph.tables.escape`).
    length : int
        UTF-16 units of the longest string as VOTable holds it; never less than its characters.
    ascii : bool
        Whether every string is ASCII.
    missing : bool
        Whether a value is missing.
    """

    fits_width: int = 0
    length: int = 0
    ascii: bool = True
    missing: bool = False

    def update(self, cells: Sequence[str], spec: ColumnSpec) -> None:
        """Take more cells into account.

        Parameters
        ----------
        cells : sequence of str
            As the journal holds them.
        spec : ColumnSpec
        """
        self.missing = self.missing or "" in cells
        if not spec.is_text or not cells:
            return
        joined = "".join(cells)
        if joined.isascii() and "%" not in joined:
            longest = max(map(len, cells))
            self.fits_width = max(self.fits_width, longest)
            self.length = max(self.length, longest)
            return
        texts = [unescape(cell) for cell in cells]
        self.ascii = self.ascii and all(map(str.isascii, texts))
        self.fits_width = max(self.fits_width, *(len(escape_ascii(text)) for text in texts))
        self.length = max(self.length, *map(_utf16_units, texts))


def _utf16_units(text: str) -> int:
    return len(readable(text).encode("utf-16-le")) // 2
