"""Files that a command writes: checked before the work, so that nothing is lost by it."""

import os
from collections.abc import Iterable
from pathlib import Path

import click

from galmorph.remote import exists, is_url

_ASKED = "galmorph.overwrite"


overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, _, value: ctx.meta.update({_ASKED: value}),
    help="Replace the output where it is there already.",
)


def prepare_output(path: str, *, inputs: Iterable[str] = (), into: bool = False) -> None:
    """Make the folder of an output; refuse to replace an input, an image, any file unasked."""
    from galmorph.inputs import refuse_image

    _refuse_inputs(path, inputs)
    refuse_image(path)
    ctx = click.get_current_context(silent=True)
    unasked = ctx is not None and ctx.meta.get(_ASKED) is False and not into
    if unasked and exists(path):
        raise click.UsageError(f"{path} is there already; replace it with --overwrite.")
    _make_folder(path)


def prepare_picture(path: str, *, inputs: Iterable[str] = ()) -> None:
    """As `prepare_output`, for a figure: it may replace another, but nothing among images."""
    inputs = list(inputs)
    _refuse_inputs(path, inputs)
    place = Path(os.path.realpath(path))
    folders = {Path(os.path.realpath(given)) for given in inputs if os.path.isdir(given)}
    if place.exists() and not folders.isdisjoint(place.parents):
        raise click.UsageError(f"{path} is among the images and the output; name another file.")
    _make_folder(path)


def _refuse_inputs(path: str, inputs: Iterable[str]) -> None:
    from galmorph.inputs import find_file

    if os.path.realpath(path) in map(find_file, inputs):
        raise click.UsageError(f"{path} is an input and the output; name another file.")


def _make_folder(path: str) -> None:
    if is_url(path):
        return
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"{path}: its folder cannot be made ({error.strerror}).") from error
    if target.is_dir() or not os.access(target.parent, os.W_OK):
        raise click.UsageError(f"{path}: cannot be written; name a file in a folder of yours.")
