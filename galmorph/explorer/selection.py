"""Rows of a run as a file, CSV, FITS, VOTable or regions of DS9, and to other programs by SAMP."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galmorph.errors import GalmorphError
from galmorph.explorer.galaxies import Galaxies
from galmorph.samp import Samp
from galmorph.tables.writers import write_table

FORMATS = {"CSV": ".csv", "FITS": ".fits", "VOTable": ".vot", "DS9 regions": ".reg"}
RADIUS = 10.0  # radius of a region in arcsec, where no field of view is known


def make_file(galaxies: Galaxies, rows: npt.NDArray[np.int64], suffix: str) -> bytes:
    """The bytes of a file of these rows, all columns but the embedding."""
    if suffix == ".reg":
        return make_regions(galaxies, rows).encode()
    from astropy.table import Table

    found = {name: values[rows] for name, values in galaxies.columns.items()}
    text = {name: values.astype(np.str_) for name, values in found.items() if values.dtype == "O"}
    table = Table({**found, **text}, meta=dict(galaxies.meta))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"selection{suffix}"
        write_table(table, path)
        return path.read_bytes()


class Sent:
    """Rows that were sent to other programs; says which of them these select."""

    def __init__(self, hear: Callable[[list[int]], None]) -> None:
        self._hear, self._rows = hear, np.empty(0, dtype=np.int64)
        self._samp = Samp(self._receive)
        self._folder = tempfile.TemporaryDirectory()
        self._name, self._number = "", 0

    def send(self, galaxies: Galaxies, rows: npt.NDArray[np.int64]) -> int:
        """Have others load these rows; the number of those who can."""
        self._number += 1
        self._rows, self._name = rows, f"{Path(galaxies.name).stem} {self._number}"
        path = Path(self._folder.name) / f"selection_{self._number}.vot"
        path.write_bytes(make_file(galaxies, rows, path.suffix))
        return self._samp.send_table(path, self._name)

    def select(self, rows: Sequence[int]) -> None:
        """Have others select those of these rows that were sent."""
        self._samp.select(self._name, np.flatnonzero(np.isin(self._rows, rows)).tolist())

    def highlight(self, row: int) -> None:
        """Have others point at a row, if it was sent."""
        for place in np.flatnonzero(self._rows == row).tolist():
            self._samp.highlight(self._name, place)

    def close(self) -> None:
        """Leave the hub, and remove the files."""
        self._samp.close()
        self._folder.cleanup()

    def _receive(self, name: str, places: list[int]) -> None:
        if name == self._name:
            self._hear([int(self._rows[place]) for place in places if place < len(self._rows)])


def count_unplaced(galaxies: Galaxies, rows: npt.NDArray[np.int64]) -> int:
    """How many of these rows have no position."""
    ra = galaxies.columns.get("ra")
    return len(rows) if ra is None else int((~np.isfinite(ra[rows])).sum())


def make_regions(galaxies: Galaxies, rows: npt.NDArray[np.int64]) -> str:
    """Circles of half the field of view with identifier and label; refused without positions."""
    columns = galaxies.columns
    if count_unplaced(galaxies, rows) == len(rows):
        raise GalmorphError("none of these galaxies has a position, so there are no regions")
    lines = ["# Region file format: DS9", "icrs"]
    for row in rows:
        ra, dec = columns["ra"][row], columns["dec"][row]
        fov = galaxies.get("fov", row)
        radius = fov / 2 if fov is not None and np.isfinite(fov) else RADIUS
        words = f"{columns['object_id'][row]} {galaxies.get('label', row) or ''}".strip()
        text = "".join(c for c in words if c not in "{}\r\n")
        if np.isfinite(ra):
            lines.append(f'circle({ra:.7f},{dec:.7f},{radius:.3f}") # text={{{text}}}')
    return "\n".join(lines) + "\n"
