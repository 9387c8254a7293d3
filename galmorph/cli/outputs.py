"""Files that a command writes: checked before the work, so that nothing is lost by it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

__all__ = ["find_file", "prepare_output", "prepare_picture", "refuse_image"]

HEAD_BYTES = 1 << 20
"""Where the mark of a FITS table of galmorph's stands, however many columns come before it."""

FITS_MAGIC = b"SIMPLE  ="
OWN_FITS_MARK = b"GALMORPH= "


def find_file(path: str) -> str:
    """Real path of the file that an input names: of the stack, where it names an item in one."""
    if not os.path.lexists(path):
        from galmorph.images.containers import split_address

        path = split_address(path)[0]
    return os.path.realpath(path)


def refuse_image(path: str) -> None:
    """Refuse to replace a file that is an image, and perhaps one of those to be read.

    Raises
    ------
    click.UsageError
        It is a raster image, or FITS that galmorph has not written.
    """
    from galmorph.images.raster import sniff_raster

    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:  # not there, or not to be read: whoever writes it says so
        return
    kind = sniff_raster(head)
    if not kind and head.startswith(FITS_MAGIC) and OWN_FITS_MARK not in head:
        kind = "FITS"
    if kind:
        raise click.UsageError(
            f"{path} is there already, a {kind} file that is no result of galmorph: it is not "
            "replaced. Name another file with -o, or remove this one."
        )


def prepare_output(path: str, *, inputs: Iterable[str] = ()) -> None:
    """Make the folder of a file that is written at the end, so that nothing fails there.

    Parameters
    ----------
    path : str
    inputs : iterable of str
        Files that are read, and must not be replaced.

    Raises
    ------
    click.UsageError
        Nothing can be written there, or an input or an image would be lost.
    """
    _refuse_inputs(path, inputs)
    refuse_image(path)
    _make_folder(path)


def prepare_picture(path: str, *, inputs: Iterable[str] = ()) -> None:
    """As `prepare_output`, for a figure: it may replace another, but nothing in a folder of images.

    Parameters
    ----------
    path : str
    inputs : iterable of str
        Files and folders that are read.

    Raises
    ------
    click.UsageError
        Nothing can be written there, or an input would be lost.
    """
    inputs = list(inputs)
    _refuse_inputs(path, inputs)
    place = Path(os.path.realpath(path))
    folders = {Path(os.path.realpath(given)) for given in inputs if os.path.isdir(given)}
    if place.exists() and not folders.isdisjoint(place.parents):
        raise click.UsageError(f"{path} is among the images and the output; name another file.")
    _make_folder(path)


def _refuse_inputs(path: str, inputs: Iterable[str]) -> None:
    if os.path.realpath(path) in map(find_file, inputs):
        raise click.UsageError(f"{path} is an input and the output; name another file.")


def _make_folder(path: str) -> None:
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"{path}: its folder cannot be made ({error.strerror}).") from error
    if target.is_dir() or not os.access(target.parent, os.W_OK):
        raise click.UsageError(f"{path}: cannot be written; name a file in a folder of yours.")
