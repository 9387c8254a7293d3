"""``galmorph report``: a result as one page to look at."""

import click

from galmorph.cli.options import TablePath, overwrite_option, prepare_output


@click.command()
@click.argument("run", type=TablePath(exists=True), metavar="RUN")
@click.option("-o", "--output", required=True, metavar="HTML", help="The page to write.")
@overwrite_option
def report(run: str, output: str) -> None:
    """Make one HTML page of a result, to look at, send and print.

    It shows charts, pictures, flags, failures and how to cite. RUN is a result of `galmorph
    classify` or `galmorph embed`. The page needs no network and no script, and can be sent and
    printed. Images are read again from where the run found them.
    """
    check_page(output)
    prepare_output(output, inputs=(run,))
    write_report(run, output)


def check_page(output: str) -> None:
    """Refuse another kind of file."""
    if not output.lower().endswith((".html", ".htm")):
        raise click.UsageError(f"{output}: a report is written as .html")


def write_report(run: str, output: str) -> None:
    """Make it, and say where it is."""
    from galmorph.pages.report import report as make_report

    size = len(make_report(run, output).encode("utf-8", "backslashreplace"))
    click.echo(f"{output}: {size / 1e6:.1f} MB; open it in a browser", err=True)
