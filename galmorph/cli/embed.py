"""``galmorph embed``: cutouts to embeddings."""

from __future__ import annotations

from typing import Any

import click

from galmorph.cli.options import GroupedCommand, output_option, run_options
from galmorph.settings import RunOptions

__all__ = ["embed"]


@click.command(cls=GroupedCommand)
@output_option(
    "Result to write; the suffix decides: .npz, .npy, .fits, .parquet, .vot, .ecsv, .csv, .jsonl; "
    "- is CSV on standard output.",
    required=True,
)
@run_options(RunOptions)
@click.pass_context
def embed(ctx: click.Context, /, strict: bool, quiet: bool, **given: Any) -> None:
    """Embed cutouts: one vector per image, in order.

    Inputs, options and exit statuses are those of `galmorph classify`. An image that cannot be
    read keeps its row, as NaN.
    """
    from galmorph.cli.run import carry_out

    ctx.exit(carry_out(RunOptions(**given), strict=strict, quiet=quiet))
