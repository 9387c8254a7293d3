"""``galmorph weights``: list, fetch and check weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galmorph.cli.status import SOME_FAILED
from galmorph.errors import ChecksumError

if TYPE_CHECKING:
    from galmorph.weights.manifest import Manifest, ManifestEntry


@click.group()
def weights() -> None:
    """List, download and verify weights."""


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest's entries as JSON.")
def list_(as_json: bool) -> None:
    """List the released models, and where each of them is."""
    from galmorph.weights.manifest import entry_to_dict, load_manifest

    manifest = load_manifest()
    if as_json:
        click.echo(json.dumps([entry_to_dict(entry) for entry in manifest.models], indent=2))
        return
    rows = [("NAME", "KIND", "WIDTH", "SIZE", "WHERE", "HEADS")]
    rows += [_row(entry, manifest) for entry in manifest.models]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def _row(entry: ManifestEntry, manifest: Manifest) -> tuple[str, str, str, str, str, str]:
    default = " (default)" if entry.name == manifest.default_model else ""
    size = f"{entry.size / 1e6:.1f} MB" if entry.size else "-"
    heads = ", ".join(head.name for head in entry.heads) or "-"
    width = str(entry.embedding_width)
    return entry.name + default, entry.kind, width, size, _say_where(entry), heads


def _say_where(entry: ManifestEntry) -> str:
    """Where the file is that would be used, or where it can be had."""
    from galmorph.weights.locate import find_local

    for source, path, _ in find_local(entry):
        with suppress(OSError):  # what may not be read is not used
            if path.is_file():
                return source
    place = f"hub {entry.repo_id}" if entry.repo_id else "nowhere: install galmorph again"
    return place if entry.pinned else f"{place} (not pinned)"


@weights.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "all_", is_flag=True, help="Every model of the manifest.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy into DIR as well, for a machine without network.",
)
def download(names: tuple[str, ...], all_: bool, folder: Path | None) -> None:
    """Download weights into the Hub cache, checked.

    With --to DIR, DIR serves a machine without network: set GALMORPH_WEIGHTS_DIR to it there, or
    give a file in it by its path.
    """
    from galmorph.weights.locate import copy_to_folder, locate_weights

    for entry in _choose(names, all_):
        found = locate_weights(entry.name)
        path = copy_to_folder(found, folder) if folder else found.path
        click.echo(f"{entry.name}  {path}")
    if folder:
        click.echo(f"There, set: GALMORPH_WEIGHTS_DIR={folder}", err=True)


def _choose(names: Iterable[str], all_: bool) -> list[ManifestEntry]:
    from galmorph.weights.manifest import load_manifest

    manifest = load_manifest()
    if all_:
        return list(manifest.models)
    chosen = [manifest.get(name) for name in names]
    if not chosen:
        raise click.UsageError("Give the NAME of a model, or --all.")
    return chosen


@weights.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Check the weights on this machine, byte by byte.

    Without a NAME, those of all models. The exit status is 1 where a file is not the published one,
    or a model that is named is not on this machine.
    """
    from galmorph.weights.locate import verify_local

    bad = absent = 0
    for entry in _choose(names, all_=not names):
        found = list(verify_local(entry))
        for path, error in found:
            click.echo(f"{entry.name}  {'ok' if error is None else 'BAD'}  {error or path}")
            bad += error is not None
        if not found:
            absent += 1
            advice = f"galmorph weights download {entry.name}"
            click.echo(f"{entry.name}  not on this machine ({advice})")
    if bad:
        raise ChecksumError(f"{bad} files are not the published ones; they will not be used")
    if names and absent:
        ctx.exit(SOME_FAILED)


@weights.command()
@click.argument("name")
def path(name: str) -> None:
    """Print the path of a model's weights file.

    The file is checked, and downloaded if need be.
    """
    from galmorph.weights.locate import locate_weights

    click.echo(locate_weights(name).path)
