"""IPAC tables, as the archives of IPAC give them; only read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise, takewhile

from galmorph.tables.columns import ColumnSpec
from galmorph.tables.formats.base import Format, list_specs
from galmorph.tables.formats.text import TextReader, read_lines


class IpacReader(TextReader):
    """Rows between the bars."""

    def _open(self) -> dict[str, ColumnSpec | None]:
        from astropy.io import ascii as tables

        with self._text() as file:
            lines = list(takewhile(lambda line: line[:1] in ("\\", "|"), read_lines(file)))
        specs = list_specs(tables.read("".join(lines), format="ipac"))
        bars = [line for line in lines if line.startswith("|")]
        self._head, self._bars = len(lines), [k for k, c in enumerate(bars[0]) if c == "|"]
        self._gaps = [
            bars[3][a + 1 : b].strip() if len(bars) > 3 else "" for a, b in pairwise(self._bars)
        ]
        return specs

    def _rows(self) -> Iterator[list[str]]:
        yield list(self.specs)
        with self._text() as file:
            for line in islice(read_lines(file), self._head, None):
                cells = (line[a:b].strip() for a, b in pairwise(self._bars))
                yield ["" if c == gap else c for c, gap in zip(cells, self._gaps, strict=True)]


FORMAT = Format("IPAC", (".tbl", ".ipac"), IpacReader)
