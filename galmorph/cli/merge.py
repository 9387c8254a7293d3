"""``galmorph merge``: the tables of several runs to one."""

import click

from galmorph.cli.options import TablePath, overwrite_option, prepare_output


@click.command()
@click.argument("parts", nargs=-1, required=True, type=TablePath(exists=True))
@click.option("-o", "--output", required=True, metavar="FILE", help="The joined table.")
@overwrite_option
def merge(parts: tuple[str, ...], output: str) -> None:
    """Join results of several runs to one table.

    Those of `--part` runs or of several nights, or folders of Parquet files, in the order given.
    They must have the same columns, and be of the same weights and head. No cutout may be there
    twice. The provenance of each is kept.
    """
    from galmorph.tables.formats import check_format
    from galmorph.tables.merge import merge_tables

    check_format(output, "embed")
    prepare_output(output, inputs=parts)
    merged = merge_tables(parts, output)
    twice = merged["repeated"]
    said = f"; {twice} share an object_id with another of another path" if twice else ""
    click.echo(f"{output}: {merged['rows']} rows of {len(parts)} tables{said}", err=True)
