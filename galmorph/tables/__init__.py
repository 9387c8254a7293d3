"""Results: their columns, tables in memory, files in every format, and catalogues as input."""

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
