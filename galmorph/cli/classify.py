"""``galmorph classify``: cutouts to a table of classes."""

from __future__ import annotations

from typing import Any

import click

from galmorph.cli.options import GroupedCommand, output_option, run_options
from galmorph.settings import ClassifyOptions

__all__ = ["classify"]


@click.command(cls=GroupedCommand)
@output_option(
    "Table to write; the suffix decides: .csv, .ecsv, .fits, .vot, .parquet, .jsonl [default: CSV "
    "on standard output].",
    default="-",
)
@run_options(ClassifyOptions)
@click.pass_context
def classify(ctx: click.Context, /, strict: bool, quiet: bool, **given: Any) -> None:
    """Classify cutouts: one row per image, in order.

    A PATH is an image (JPEG, PNG, TIFF, WebP, FITS), a folder, a glob, a tar shard, or a stack
    (.npy, .npz, file.h5::dataset, .parquet). A file that cannot be read keeps its row, with flags
    and a message.

    Exit status: 0 done, 1 some cutouts failed (with --strict) or the run could not be carried out,
    2 usage, 3 nothing could be read, 130 interrupted, 143 ended by SIGTERM.
    """
    from galmorph.cli.run import carry_out

    ctx.exit(carry_out(ClassifyOptions(**given), strict=strict, quiet=quiet))
