"""Columns of a catalogue that a result carries along, and their names there.

Columns of the catalogue keep their name, unit, UCD and description; line breaks and other control
characters in a name become a blank. A column whose name is one of galmorph's own
(`STANDARD_NAMES`, any that starts with ``p_``, ``e_000`` and the like, ``provenance``, compared
without case) is carried as ``<name>_catalogue``; if that is taken too, as ``<name>_catalogue2`` and
so on. So is the second of two columns whose names differ in case only ("b" and "B"), because FITS
has no case.

The columns that are used as ``object_id``, ``path``, ``ra`` and ``dec`` are carried under their own
name as well, unless it is just that name. Columns that no output format can hold (objects, complex
numbers, more than one axis per row) are left out with a `GalmorphWarning`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from galmorph.errors import GalmorphWarning
from galmorph.tables.columns import STANDARD_NAMES, ColumnSpec, make_printable_name

SUFFIX = "_catalogue"
_RESERVED = re.compile(r"p_.*|e_[0-9]{3,}|provenance")
"""What formats add: probabilities, the embedding in CSV, and the provenance in npz."""

MAX_NAMED = MAX_SHOWN = 100
"""Columns that a message names, and letters of each."""


def carried_columns(
    specs: Mapping[str, ColumnSpec | None], same: Collection[str]
) -> list[tuple[ColumnSpec, str]]:
    """Specs as in the result, each with its name in the catalogue, but for those of `same`."""
    refused = [name for name, spec in specs.items() if spec is None]
    if refused:
        warnings.warn(
            f"the columns {join_names(refused)} are of types that a result cannot hold; left out",
            GalmorphWarning,
            stacklevel=4,
        )
    kept = [spec for name, spec in specs.items() if spec is not None and name not in same]
    taken = {name.lower() for name in (*STANDARD_NAMES, *map(make_printable_name, specs))}
    carried, seen = [], set[str]()
    for spec in kept:
        printable = make_printable_name(spec.name)
        clash = _is_reserved(printable) or printable.lower() in seen
        name = _free_name(printable, taken) if clash else printable
        seen.add(printable.lower())
        carried.append((replace(spec, name=name), spec.name))
    return carried


def pick_column(columns: Mapping[str, Any], name: str) -> Any:
    """Value in a row's ``columns`` by the name that the column has in the table itself."""
    name = make_printable_name(name)
    renamed = f"{name}{SUFFIX}"
    return columns[renamed if renamed in columns else name]


def list_columns(columns: Mapping[str, Any]) -> list[str]:
    """Names of a row's ``columns`` as they stand in the table itself."""
    return [name.removesuffix(SUFFIX) for name in columns]


def _is_reserved(name: str) -> bool:
    return name.lower() in STANDARD_NAMES or _RESERVED.fullmatch(name.lower()) is not None


def _free_name(name: str, taken: set[str]) -> str:
    free, number = f"{name}{SUFFIX}", 2
    while free.lower() in taken:
        free, number = f"{name}{SUFFIX}{number}", number + 1
    taken.add(free.lower())
    return free


def join_names(names: Iterable[str]) -> str:
    """Names of columns for a message."""
    listed = [make_printable_name(name)[:MAX_SHOWN] for name in names]
    more = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
    return ", ".join(listed[:MAX_NAMED]) + more
