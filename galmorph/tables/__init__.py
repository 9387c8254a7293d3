"""Results: their columns, tables in memory, files in every format, and catalogues as input."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galmorph.tables.build import build_table, read_partial
    from galmorph.tables.catalogue import Catalogue, CatalogueRow, read_catalogue
    from galmorph.tables.columns import ColumnSpec, result_columns
    from galmorph.tables.formats import check_format, list_suffixes
    from galmorph.tables.merge import merge_tables
    from galmorph.tables.writers import TableWriter, open_writer, write_table

__all__ = [
    "Catalogue",
    "CatalogueRow",
    "ColumnSpec",
    "TableWriter",
    "build_table",
    "check_format",
    "list_suffixes",
    "merge_tables",
    "open_writer",
    "read_catalogue",
    "read_partial",
    "result_columns",
    "write_table",
]

_HOMES = {
    "Catalogue": "catalogue",
    "CatalogueRow": "catalogue",
    "ColumnSpec": "columns",
    "TableWriter": "writers",
    "build_table": "build",
    "check_format": "formats",
    "list_suffixes": "formats",
    "merge_tables": "merge",
    "open_writer": "writers",
    "read_catalogue": "catalogue",
    "read_partial": "build",
    "result_columns": "columns",
    "write_table": "writers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
