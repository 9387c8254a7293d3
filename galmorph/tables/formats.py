"""The output formats: which suffix means which, and what each can hold."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from galmorph.errors import MissingExtraError, TableFormatError
from galmorph.tables.columns import ColumnSpec

__all__ = ["STDOUT", "Format", "Kind", "check_columns", "check_format", "list_suffixes"]

Kind = Literal["classify", "embed"]
"""What the table is for: classes, or embeddings."""

STDOUT = "-"
"""The path that means standard output (CSV)."""

FITS_MAX_COLUMNS = 999
"""TFIELDS of the FITS standard 4.0, section 7.3.1."""


@dataclass(frozen=True, slots=True)
class Format:
    """One output format.

    Attributes
    ----------
    name : str
        As people call it.
    suffixes : tuple of str
        In lower case, the usual one first.
    function : str
        "module:function" that writes it.
    kinds : tuple of str
        For which kinds of table it can be used.
    """

    name: str
    suffixes: tuple[str, ...]
    function: str
    kinds: tuple[Kind, ...] = ("classify", "embed")

    def load(self) -> Callable[[Any, Mapping[str, Any], Path], None]:
        """Import the function that writes this format.

        Returns
        -------
        callable
        """
        module, _, name = self.function.partition(":")
        function: Callable[[Any, Mapping[str, Any], Path], None] = getattr(
            importlib.import_module(f"galmorph.tables.serializers.{module}"), name
        )
        return function


FORMATS = (
    Format("CSV", (".csv",), "text:write_csv"),
    Format("ECSV", (".ecsv",), "text:write_ecsv"),
    Format("FITS", (".fits", ".fit"), "fits:write_fits"),
    Format("VOTable", (".vot", ".votable", ".xml"), "votable:write_votable"),
    Format("Parquet", (".parquet", ".pq"), "parquet:write_parquet"),
    Format("JSON Lines", (".jsonl", ".ndjson"), "jsonl:write_jsonl"),
    Format("npy", (".npy",), "arrays:write_npy", kinds=("embed",)),
    Format("npz", (".npz",), "arrays:write_npz", kinds=("embed",)),
)


def list_suffixes(kind: Kind) -> list[str]:
    """Suffixes that an output may have.

    Parameters
    ----------
    kind : {"classify", "embed"}

    Returns
    -------
    list of str

    Examples
    --------
    >>> list_suffixes("classify")[:3]
    ['.csv', '.ecsv', '.fits']
    """
    return [suffix for form in FORMATS if kind in form.kinds for suffix in form.suffixes]


def check_format(path: str | os.PathLike[str], kind: Kind = "classify") -> Format:
    """Find the format of an output before any work is done.

    Parameters
    ----------
    path : path-like
        Its suffix decides, without regard to case; "-" is CSV on standard output.
    kind : {"classify", "embed"}

    Returns
    -------
    Format

    Raises
    ------
    TableFormatError
        Where the suffix is unknown (the message lists those there are) or cannot hold this kind.
    MissingExtraError
        Where the format needs a package that is not installed.
    """
    if os.fspath(path) == STDOUT:
        return FORMATS[0]
    suffix = Path(path).suffix.lower()
    form = next((form for form in FORMATS if suffix in form.suffixes), None)
    if form is None or kind not in form.kinds:
        said = (
            f"no output format has the suffix {suffix!r}"
            if form is None
            else (f"{form.name} holds embeddings only, no classes")
        )
        raise TableFormatError(f"{path}: {said}; use one of {', '.join(list_suffixes(kind))}")
    if form.name == "Parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "parquet", "to write Parquet")
    return form


def check_columns(form: Format, specs: Sequence[ColumnSpec]) -> None:
    """Refuse columns that a format cannot hold.

    Parameters
    ----------
    form : Format
    specs : sequence of ColumnSpec

    Raises
    ------
    TableFormatError
        Where there are more than 999 columns for FITS, other than one vector for npy, or a column
        for CSV of the name of one that a vector is spread over.
    """
    if form.name == "FITS" and len(specs) > FITS_MAX_COLUMNS:
        raise TableFormatError(
            f"FITS holds at most {FITS_MAX_COLUMNS} columns, not {len(specs)}; "
            "carry fewer columns of the catalogue or write .parquet or .vot"
        )
    if form.name == "CSV":
        _check_spread(specs)
    if form.name == "npy" and sum(bool(spec.shape) for spec in specs) != 1:
        raise TableFormatError("npy holds exactly one vector column; write .npz for several")


def _check_spread(specs: Sequence[ColumnSpec]) -> None:
    vectors = [spec for spec in specs if spec.shape]
    if not vectors:
        return
    from galmorph.tables.serializers.text import vector_names

    taken = {spec.name for spec in specs if not spec.shape}
    for spec in vectors:
        names = set(vector_names(spec))
        if twice := sorted(names & taken):
            raise TableFormatError(
                f"CSV spreads the vector {spec.name} over columns, of which {twice[0]} is there "
                "already; rename one of both, or write .ecsv, .fits or .parquet"
            )
        taken |= names
