"""``galmorph classify``: cutouts to a table of classes."""

from pathlib import Path
from typing import Any

import click

from galmorph.cli.options import GroupedCommand, options_of
from galmorph.cli.status import OK, SOME_FAILED
from galmorph.settings import ClassifyOptions


@click.command(cls=GroupedCommand)
@click.argument("images", nargs=-1, type=click.Path(), metavar="[PATH]...")
@options_of(ClassifyOptions)
@click.pass_context
def classify(ctx: click.Context, /, **given: Any) -> None:
    """Classify cutouts: one row per image, in order.

    A PATH is an image (JPEG, PNG, TIFF, WebP, FITS), a folder, a glob, a tar shard, or a stack
    (.npy, .npz, file.h5::dataset, .parquet). A file that cannot be read keeps its row, with flags
    and a message. Without -o the table goes to standard output, as CSV.

    Exit status: 0 done, 1 some cutouts failed (with --strict) or the run could not be carried out,
    2 usage, 3 nothing could be read, 130 interrupted, 143 ended by SIGTERM.
    """
    from galmorph.cli.run import carry_out

    options = ClassifyOptions(**{**given, "output": given["output"] or "-"})
    if options.report is not None:
        _prepare_report(options.report, options)
    if options.samp and not options.file.endswith((".fits", ".vot")):
        raise click.UsageError("--samp sends a file: name it with -o, as .fits or .vot.")
    status = carry_out(options)
    if options.report is not None and status in (OK, SOME_FAILED):
        from galmorph.cli.report import write_report

        write_report(options.file, options.report)
    if options.samp and status in (OK, SOME_FAILED):
        _send(Path(options.file))
    ctx.exit(status)


def _send(path: Path) -> None:
    from galmorph.samp import Samp

    hub = Samp()
    count = hub.send_table(path, path.name)
    hub.close()
    click.echo(f"sent by SAMP; programs that can load it: {count}", err=True)


def _prepare_report(report: str, options: ClassifyOptions) -> None:
    from galmorph.cli.options import prepare_output
    from galmorph.cli.report import check_page

    if not options.file:
        raise click.UsageError("--report needs a table to be made of: name it with -o.")
    check_page(report)
    prepare_output(report, inputs=(options.file,))
