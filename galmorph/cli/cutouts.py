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

TABLE = "cutouts.csv"
COLUMNS = {"object_id": "str", "ra": "float64", "dec": "float64", "path": "str", "message": "str"}


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

    The folder gets one image for each position that has one, provenance.json, and the table
    cutouts.csv: identifier, position, file or why there is none, and the catalogue's columns.
    What has come before is in the cache and is not asked for again: the same command goes on.
    """
    import json
    from pathlib import Path

    from galmorph.inputs import open_inputs
    from galmorph.origin import describe_origin, say_command
    from galmorph.quantities import plain
    from galmorph.tables.formats.parquet import PROVENANCE
    from galmorph.writing import say_unwritable, write_whole

    options = RunOptions(**given)
    if not options.survey:
        raise click.UsageError("give --survey NAME and --catalogue FILE")
    inputs = open_inputs(options)
    folder = Path(output)
    with say_unwritable(folder, "name a folder of yours"):
        folder.mkdir(parents=True, exist_ok=True)
        origin = describe_origin(say_command(ctx.find_root().obj["typed"]))
        meta = plain(origin | {"inputs": inputs.describe()})
        write_whole(folder / PROVENANCE, json.dumps(meta, indent=1).encode())
    good, count = _save_all(inputs, folder)
    click.echo(f"{folder}: {good} of {count} cutouts; {folder / TABLE} tells of each", err=True)
    ctx.exit(OK if good or not count else NOTHING_READ)


def _save_all(inputs: Inputs, folder: Path) -> tuple[int, int]:
    from galmorph.errors import GalmorphError
    from galmorph.progress import show_progress
    from galmorph.surveys.cutouts import save
    from galmorph.tables.columns import ColumnSpec
    from galmorph.tables.writers import open_writer

    names: set[str] = set()
    good = count = 0
    own = [ColumnSpec(name, kind) for name, kind in COLUMNS.items()]
    with (
        show_progress(items=inputs.list_sources()) as report,
        open_writer(folder / TABLE, [*own, *inputs.carried]) as writer,
    ):
        for count, source in enumerate(inputs.bring(inputs.list_sources()), 1):
            row = {**source.columns, "object_id": source.object_id, "path": "", "message": ""}
            try:
                row["path"] = save(source, folder, _choose_name(source.object_id, names))
                good += 1
            except GalmorphError as error:
                row["message"] = str(error)
            writer.append({spec.name: [row[spec.name]] for spec in writer.specs})
            report(count, count - good)
    return good, count


def _choose_name(object_id: str, taken: set[str]) -> str:
    """A name for a file that no other row has, on no file system."""
    name = re.sub(r"[^\w.+-]", "_", object_id).lstrip(".") or "cutout"
    free, number = name, len(taken)
    while free.lower() in taken:
        free, number = f"{name}-{number}", number + 1
    taken.add(free.lower())
    return free
