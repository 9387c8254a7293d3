"""``galmorph cutouts``: positions to a folder of images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.options import GroupedCommand, options_of
from galmorph.cli.status import NOTHING_READ, OK
from galmorph.settings import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from galmorph.inputs import Inputs

__all__ = ["cutouts"]

TABLE = "cutouts.csv"


@click.command(cls=GroupedCommand)
@click.option("-o", "--output", required=True, metavar="FOLDER", help="Folder to keep them in.")
@options_of(
    RunOptions,
    *("catalogue", "id_column", "ra_column", "dec_column", "survey", "survey_url", "connections"),
    *("fov", "bands", "part"),
)
@click.pass_context
def cutouts(ctx: click.Context, /, output: str, **given: Any) -> None:
    """Download cutouts by position.

    The folder gets one image for each position that has one, and the table cutouts.csv with the
    identifier, position, file and, where there is none, the reason. What has come before is in the
    cache and is not asked for again: the same command goes on.
    """
    from pathlib import Path

    from galmorph.inputs import open_inputs

    options = RunOptions(**given)
    if not options.survey:
        raise click.UsageError("give --survey NAME and --catalogue FILE")
    inputs = open_inputs(options)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    good, count = _save_all(inputs, folder)
    click.echo(f"{folder}: {good} of {count} cutouts; {folder / TABLE} tells of each", err=True)
    ctx.exit(OK if good or not count else NOTHING_READ)


def _save_all(inputs: Inputs, folder: Path) -> tuple[int, int]:
    """Numbers of images and of positions."""
    from galmorph.errors import GalmorphError
    from galmorph.progress import show_progress
    from galmorph.surveys.cutouts import save

    rows: list[tuple[str, float, float, str, str]] = []
    names: set[str] = set()
    with show_progress(items=inputs.list_sources()) as report:
        for source in inputs.bring(inputs.list_sources()):
            name = re.sub(r"[^\w.+-]", "_", source.object_id).lstrip(".") or "cutout"
            name = name if name.lower() not in names else f"{name}-{len(rows)}"
            names.add(name.lower())
            file, said = "", ""
            try:
                file = save(source, folder, name)
            except GalmorphError as error:
                said = str(error)
            columns = source.columns
            rows.append((source.object_id, columns["ra"], columns["dec"], file, said))
            report(len(rows), sum(not row[3] for row in rows))
    _write_table(rows, folder)
    return sum(bool(row[3]) for row in rows), len(rows)


def _write_table(rows: list[tuple[str, float, float, str, str]], folder: Path) -> None:
    import csv
    import io

    from galmorph.writing import write_whole

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("object_id", "ra", "dec", "path", "message"))
    writer.writerows(rows)
    write_whole(folder / TABLE, text.getvalue().encode())
