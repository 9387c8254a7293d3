"""``galmorph explore``: a run as a map and a gallery, in the browser."""

import click

from galmorph.cli.options import TablePath


@click.command()
@click.argument("run", type=TablePath(exists=True))
@click.option(
    "--labels",
    default="labels.csv",
    show_default=True,
    metavar="FILE",
    help="CSV file of your labels; go on with it where it is there. One file for each scheme.",
)
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False),
    metavar="FOLDER",
    help="Where the images are now, if they have moved since the run.",
)
@click.option("--port", default=5006, show_default=True, help="Port of 127.0.0.1; 0 for any.")
@click.option("--no-browser", is_flag=True, help="Print the address only, as for an SSH tunnel.")
def explore(run: str, labels: str, root: str | None, port: int, *, no_browser: bool) -> None:
    """Look at a run: map, gallery, neighbours; label and learn.

    RUN is a table of `galmorph classify --with-embedding`. The page is served on this machine
    alone, under an address with a random token. On another machine, forward the port:
    ssh -L 5006:127.0.0.1:5006 HOST.
    """
    from galmorph.explorer.app import explore as open_explorer

    open_explorer(run, labels=labels, root=root).show(port, browser=not no_browser)
