"""The formats of tables, one file each: how it is written, compared on resuming, and read."""

import importlib.util
import os
from collections.abc import Collection
from pathlib import Path

from galmorph.errors import CatalogueError, MissingExtraError, TableFormatError
from galmorph.remote import Copy, allow, fetch, fetch_tree, is_url, to_path
from galmorph.tables.formats import arrays, csv, fits, jsonl, parquet, text, votable
from galmorph.tables.formats.base import Format, Kind, TableReader

STDOUT = "-"  # the path that means standard output (CSV)
FORMATS: tuple[Format, ...] = (
    *(csv.FORMAT, csv.TSV, csv.ECSV, fits.FORMAT, votable.FORMAT, parquet.FORMAT, jsonl.FORMAT),
    *(arrays.NPY, arrays.NPZ, text.IPAC),
)

_COMPRESSIBLE = (".csv", ".tsv", ".ecsv", ".fits", ".fit")


def list_suffixes(kind: Kind) -> list[str]:
    """Suffixes that an output may have, as .csv."""
    forms = [form for form in FORMATS if form.write is not None and kind in form.kinds]
    return [suffix for form in forms for suffix in form.suffixes]


def check_format(path: str | os.PathLike[str], kind: Kind = "classify") -> Format:
    """Find the format of an output, by its suffix, before any work is done."""
    if os.fspath(path) == STDOUT:
        return csv.FORMAT
    suffix = Path(path).suffix.lower()
    form = next((form for form in FORMATS if suffix in form.suffixes and form.write), None)
    if form is None or kind not in form.kinds:
        said = (
            f"no output format has the suffix {suffix!r}"
            if form is None
            else f"{form.name} holds embeddings only, no classes"
        )
        raise TableFormatError(f"{path}: {said}; use one of {', '.join(list_suffixes(kind))}")
    _check_package(form, "write")
    return form


def _check_package(form: Format, verb: str) -> None:
    if form.package and importlib.util.find_spec(form.package) is None:
        raise MissingExtraError(form.package, form.name.lower(), f"to {verb} {form.name}")


def bring_table(url: str) -> Copy:
    """A copy of a table, or of a folder of Parquet files, that the command names."""
    url = to_path(url)
    allow(url)
    return fetch(url) if Path(url).suffix else fetch_tree(url, parquet.FORMAT.suffixes)


def open_reader(
    path: str | os.PathLike[str],
    *,
    exact: Collection[str] = (),
    only: Collection[str] | None = None,
) -> TableReader:
    """Open a table by its suffix; a folder is one of Parquet files, by HATS or in partitions."""
    name = os.fspath(path)
    if not is_url(name):
        return _open(Path(name), exact, only)
    copy = bring_table(name)
    with copy.naming():
        reader = _open(Path(copy.path), exact, only)
    reader.name, reader.copy = name, copy
    return reader


def _open(path: Path, exact: Collection[str], only: Collection[str] | None) -> TableReader:
    if path.is_dir():
        _check_package(parquet.FORMAT, "read")
        return parquet.FORMAT.reader(path, exact, only)
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    zipped = suffixes[-1:] == [".gz"] and suffixes[0] in _COMPRESSIBLE
    suffix = suffixes[0] if zipped else path.suffix.lower()
    form = next((form for form in FORMATS if suffix in form.suffixes), None)
    if form is None:
        known = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
        raise CatalogueError(
            f"{path}: no format of tables has the suffix {path.suffix!r}; use one of {known}"
        )
    _check_package(form, "read")
    if not path.is_file():
        raise CatalogueError(f"{path}: there is no such file")
    return form.reader(path, exact, only)
