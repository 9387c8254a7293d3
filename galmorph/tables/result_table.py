"""The astropy table of a result, whose own ``write`` keeps all that it knows."""

import os
from typing import Any

from astropy.table import Table

from galmorph.tables.formats import csv, fits, parquet, votable
from galmorph.tables.writers import write_table

FORMATS = {  # by the names that astropy has for them
    "fits": fits.FORMAT,
    "votable": votable.FORMAT,
    "ascii.ecsv": csv.ECSV,
    "parquet": parquet.FORMAT,
}


class ResultTable(Table):  # type: ignore[misc]
    """A table; ``write`` to FITS, VOTable, ECSV and Parquet goes through `write_table`."""

    def write(self, *args: Any, format: str | None = None, **given: Any) -> None:
        """Write to a file; other formats, and all options but ``overwrite``, are astropy's."""
        path = args[0] if len(args) == 1 else None
        if not isinstance(path, str | os.PathLike) or given.keys() - {"overwrite"}:
            return super().write(*args, format=format, **given)  # type: ignore[no-any-return]
        name = os.fspath(path).lower()
        own = [key for key, form in FORMATS.items() if name.endswith(form.suffixes)]
        if not own or format not in (None, *own):
            return super().write(*args, format=format, **given)  # type: ignore[no-any-return]
        if os.path.exists(path) and not given.get("overwrite"):
            raise OSError(f"{os.fspath(path)}: is there already; to replace it, say overwrite=True")
        return write_table(self, path)
