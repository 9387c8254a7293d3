"""``galmorph embed``: cutouts to embeddings."""

from __future__ import annotations

from typing import Any

import click

from galmorph.cli.options import (
    backend_option,
    engine_options,
    input_options,
    model_option,
    output_options,
    pixel_options,
)

__all__ = ["embed"]


@click.command()
@input_options
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Result to write; the suffix decides: .npz, .npy, .fits, .parquet, .vot, .ecsv, .csv, "
    ".jsonl; - is CSV on standard output.",
)
@model_option
@pixel_options
@engine_options
@backend_option
@output_options
@click.pass_context
def embed(ctx: click.Context, /, **given: Any) -> None:
    """Embed cutouts: one vector per image, in order.

    Inputs, options and exit statuses are those of `galmorph classify`. An image that cannot be
    read keeps its row, as NaN.
    """
    from galmorph.cli.request import Request
    from galmorph.cli.run import run_request

    ctx.exit(run_request(Request(kind="embed", **given)))
