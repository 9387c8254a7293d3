"""The command ``galmorph``: a group whose commands are imported when they are needed."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from galmorph.cli.status import get_status, heed_signals, leave
from galmorph.errors import GalmorphError, GalmorphWarning

COMMANDS = (  # each is galmorph.cli.NAME:NAME, in a module that imports no more than click
    "classify",
    "cutouts",
    "embed",
    "merge",
    "report",
    "search",
    "explore",
    "inspect",
    "weights",
    "export",
    "fit",
    "evaluate",
    "pretrain",
    "doctor",
    "cite",
)


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for, and says errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"galmorph.cli.{cmd_name}"), cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed, for provenance; --debug may stand anywhere."""
        ctx.obj = {"typed": list(args), "debug": "--debug" in args}
        return super().parse_args(ctx, [word for word in args if word != "--debug"])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what galmorph raises on purpose becomes one line and an exit status."""
        with _short_warnings():
            try:
                return super().invoke(ctx)
            except (GalmorphError, KeyboardInterrupt) as error:
                if ctx.obj["debug"]:
                    raise
                is_error = isinstance(error, GalmorphError)
                click.echo(f"Error: {error}" if is_error else "Interrupted.", err=True)
                ctx.exit(get_status(error))


def _open_closed_streams() -> None:
    """Open the null device in place of closed standard streams: else files get their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in their order
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(null, True)  # as a stream is
            setattr(sys, name, open(null, mode, encoding="utf-8"))  # noqa: SIM115 (for good)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Show galmorph's own warnings as one line, without the place in the code."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, GalmorphWarning):
            click.echo(f"Warning: {message}", err=True)
        else:
            usual(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@click.group(
    cls=LazyGroup,
    commands=dict.fromkeys(COMMANDS),  # their names, for suggestions
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="galmorph", message="galmorph %(version)s")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error; behind a command as well.",
)
def cli() -> None:
    """Galaxy cutouts to morphology classes and embeddings.

    \b
    galmorph classify cutouts/ -o classes.fits
    galmorph embed cutouts/ -o embeddings.npz

    Every command explains itself: galmorph COMMAND --help.
    """  # noqa: D301 (click's mark for lines to be kept)


def main() -> None:
    """Entry point of the command ``galmorph``."""
    _open_closed_streams()
    heed_signals()
    try:
        cli.main(prog_name="galmorph", standalone_mode=True)
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
