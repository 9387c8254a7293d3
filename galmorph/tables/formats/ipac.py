"""IPAC tables, as the archives of IPAC give them; only read, and whole."""

from __future__ import annotations

from galmorph.tables.columns import ColumnSpec
from galmorph.tables.formats.base import Format, MemoryReader


class IpacReader(MemoryReader):
    """Rows between the bars."""

    def _open(self) -> dict[str, ColumnSpec | None]:
        from astropy.io import ascii as tables

        self.table = tables.read(self.path.read_text("utf-8-sig"), format="ipac")
        return self._columns()


FORMAT = Format("IPAC", (".tbl", ".ipac"), IpacReader)
