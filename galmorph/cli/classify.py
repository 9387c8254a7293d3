"""``galmorph classify``: cutouts to a table of classes."""

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

__all__ = ["classify"]


@click.command()
@input_options
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    help="Table to write; the suffix decides: .csv, .ecsv, .fits, .vot, .parquet, .jsonl "
    "[default: CSV on standard output].",
)
@click.option(
    "--head",
    default="gz2",
    show_default=True,
    metavar="NAME|FILE",
    help="Classes to tell apart: gz2, sdss, decals, decals4, or a file of `galmorph fit`.",
)
@model_option
@pixel_options
@engine_options
@backend_option
@output_options
@click.pass_context
def classify(ctx: click.Context, /, **given: Any) -> None:
    """Classify cutouts: one row per image, in order.

    A PATH is an image (JPEG, PNG, TIFF, WebP, FITS), a folder, a glob, a tar shard, or a stack
    (.npy, .npz, file.h5::dataset, .parquet). A file that cannot be read keeps its row, with flags
    and a message.

    Exit status: 0 done, 1 some cutouts failed (with --strict) or the run could not be carried out,
    2 usage, 3 nothing could be read, 130 interrupted, 143 ended by SIGTERM.
    """
    from galmorph.cli.request import Request
    from galmorph.cli.run import run_request

    ctx.exit(run_request(Request(kind="classify", **given)))
