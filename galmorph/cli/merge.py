"""``galmorph merge``: the tables of several runs to one."""

import click

from galmorph.cli.options import TablePath
from galmorph.remote import exists


@click.command()
@click.argument("parts", nargs=-1, required=True, type=TablePath(exists=True))
@click.option("-o", "--output", required=True, metavar="FILE", help="The joined table.")
@click.option("--overwrite", is_flag=True, help="Replace the output where it is there already.")
def merge(parts: tuple[str, ...], output: str, *, overwrite: bool) -> None:
    """Join results of several runs to one table.

    Those of `--part` runs or of several nights, or folders of Parquet files, in the order given.
    They must have the same columns, and be of the same weights and head. No cutout may be there
    twice. The provenance of each is kept.
    """
    from galmorph.tables.formats import check_format
    from galmorph.tables.merge import merge_tables

    check_format(output, "embed")
    if exists(output) and not overwrite:
        raise click.UsageError(f"{output} is there already; replace it with --overwrite")
    merged = merge_tables(parts, output)
    twice = merged["repeated"]
    said = f"; {twice} share an object_id with another of another path" if twice else ""
    click.echo(f"{output}: {merged['rows']} rows of {len(parts)} tables{said}", err=True)
