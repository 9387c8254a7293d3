"""``galmorph embed``: cutouts to embeddings."""

from typing import Any

import click

from galmorph.cli.options import GroupedCommand, options_of
from galmorph.errors import OptionError
from galmorph.settings import RunOptions


@click.command(cls=GroupedCommand)
@click.argument("images", nargs=-1, type=click.Path(), metavar="[PATH]...")
@options_of(RunOptions)
@click.pass_context
def embed(ctx: click.Context, /, **given: Any) -> None:
    """Embed cutouts: one vector per image, in order.

    Inputs, options and exit statuses are those of `galmorph classify`. An image that cannot be
    read keeps its row, as NaN.
    """
    from galmorph.cli.run import carry_out

    if not given["output"]:
        raise OptionError("Name the result with -o FILE; - is CSV on standard output.")
    ctx.exit(carry_out(RunOptions(**given)))
