"""``galmorph search``: the galaxies of a result that are most like some examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from galmorph.cli.options import (
    GroupedCommand,
    SettingType,
    TablePath,
    options_of,
    overwrite_option,
    prepare_output,
)
from galmorph.settings import ModelOptions, Whole

if TYPE_CHECKING:
    from astropy.table import Table


@click.command(cls=GroupedCommand)
@click.argument("run", type=TablePath(exists=True), metavar="RUN")
@click.option(
    "--like", multiple=True, metavar="ID|FILE|RA,DEC", help="An example; may be repeated."
)
@click.option("--unlike", multiple=True, metavar="ID|FILE|RA,DEC", help="What it is not like.")
@click.option("-n", "count", type=SettingType(Whole()), default=50, show_default=True, metavar="N",
              help="Rows to give.")  # fmt: skip
@click.option("--where", default="", metavar="EXPRESSION",
              help='Which rows may be found, as "z < 0.1 and p_spiral > 0.5".')  # fmt: skip
@click.option("--index", is_flag=True,
              help="Search by an index (extra search), built once and kept beside RUN, as is done "
              "for more than a million rows.")  # fmt: skip
@click.option("--duplicates", is_flag=True, help="List pairs that are the same galaxy instead.")
@click.option("-o", "--output", default="-", metavar="FILE",
              help="Table, or a gallery (.html) [default: CSV on standard output].")  # fmt: skip
@overwrite_option
@options_of(ModelOptions, "model")
def search(
    run: str,
    like: tuple[str, ...],
    unlike: tuple[str, ...],
    count: int,
    where: str,
    output: str,
    model: str | None,
    *,
    index: bool,
    duplicates: bool,
) -> None:
    """Find galaxies that look like examples.

    RUN is a result of `galmorph classify --with-embedding` or of `galmorph embed`. An example is an
    object_id of it, an image file, or a position RA,DEC in degrees. Several are averaged.

    The embeddings are kept beside RUN as RUN.*.embeddings.npy, for the next search.
    """
    if duplicates == bool(like):
        raise click.UsageError("Give --like EXAMPLE, or --duplicates.")
    if duplicates and (unlike or where or output.endswith(".html")):
        raise click.UsageError(
            "--duplicates takes neither --unlike nor --where, and makes a table."
        )
    if output != "-":
        prepare_output(output, inputs=(run,))
    if not output.endswith(".html"):
        from galmorph.tables.formats import check_format

        check_format(output, "classify")
    if duplicates:
        from galmorph.neighbours.duplicates import find_duplicates

        table = find_duplicates(run)
    else:
        from galmorph.neighbours.search import search as find

        table = find(
            run, list(like), unlike=list(unlike), n=count, where=where, model=model, index=index
        )
    _write(table, output)


def _write(table: Table, output: str) -> None:
    if output.endswith(".html"):
        from galmorph.pages.page import make_gallery
        from galmorph.writing import write_whole

        write_whole(output, make_gallery(table).encode())
    else:
        from galmorph.tables.writers import write_table

        write_table(table, output)
    if output != "-":
        click.echo(f"{output}: {len(table)} rows", err=True)
