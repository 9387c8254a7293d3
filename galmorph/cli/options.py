"""Options of the commands, made from the settings, their help in groups, and what they write.

Files to write are checked before the work, so that nothing is lost by it.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import Field
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from galmorph.remote import exists, is_url
from galmorph.settings import (
    GROUPS,
    Center,
    Choice,
    Flag,
    Kind,
    Option,
    Settings,
    Texts,
    list_options,
)

RARE = "Rarely needed"
NOTHING = ("None", "()", "(1, 1)", "False", "")  # defaults that tell nobody anything

Command = TypeVar("Command", bound=Callable[..., Any])
_ASKED = "galmorph.overwrite"
overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, _, value: ctx.meta.update({_ASKED: value}),
    help="Replace the output where it is there already.",
)


class SettingType(click.ParamType[Any]):
    """Values as one kind of setting reads and checks them."""

    def __init__(self, kind: Kind, metavar: str = "", *, names: str = "") -> None:
        self.kind, self.names = kind, names
        self.name = type(kind).__name__.lower()
        self.takes_files = "FILE" in metavar

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names of models or heads, and files where they are taken."""
        found = [name for name in _list_names(self.names) if name.startswith(incomplete)]
        files = [CompletionItem(incomplete, type="file")] if self.takes_files else []
        return [*map(CompletionItem, found), *files]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, or a usage error that says what is wrong with it."""
        if isinstance(self.kind, Texts):  # one of several
            return value
        try:
            return self.kind.check(self.kind.read(value) if isinstance(value, str) else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class TablePath(click.Path):
    """A table that must be there, or a URL, which is looked at when it is read."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path as it was typed."""
        return value if is_url(value) else super().convert(value, param, ctx)


def _list_names(what: str) -> list[str]:
    from galmorph.weights.manifest import load_manifest

    if what not in ("model", "head"):
        return []
    entries = load_manifest().models
    heads = [head.name for entry in entries for head in entry.heads]
    return [entry.name for entry in entries] if what == "model" else list(dict.fromkeys(heads))


class GroupedOption(click.Option):
    """An option that belongs to a section of the help."""

    def __init__(self, *args: Any, section: str = GROUPS[0], **given: Any) -> None:
        super().__init__(*args, **given)
        self.section = section


class GroupedCommand(click.Command):
    """A command whose help lists the options in groups, the rare ones below."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section after another."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            section = getattr(
                param, "section", RARE if param.name in ("help", "debug") else GROUPS[0]
            )
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                sections.setdefault(section, []).append(record)
        for name in (*GROUPS, RARE):
            if name in sections:
                with formatter.section(name):
                    formatter.write_dl(sections[name])


def _make_option(each: Field[Any], option: Option, group: str) -> Callable[[Command], Command]:
    name, kind = each.name.replace("_", "-"), option.kind
    metavar = option.metavar or kind.metavar
    setting = SettingType(kind, metavar, names=each.name)
    given: dict[str, Any] = {"type": setting, "metavar": metavar}
    if isinstance(kind, Choice):
        given = {"type": click.Choice(kind.names)}
    elif isinstance(kind, Flag):
        given = {"is_flag": True}
    elif isinstance(kind, Center):
        given |= {"type": float, "nargs": 2}
    elif isinstance(kind, Texts):
        given |= {"multiple": True}
    return click.option(
        *(option.flag or f"--{name}").split(),
        each.name,
        cls=GroupedOption,
        section=RARE if option.rare else group,
        default=each.default,
        show_default="[default:" not in option.help and str(each.default) not in NOTHING,
        help=option.help,
        **given,
    )


def options_of(kind: type[Settings], *names: str) -> Callable[[Command], Command]:
    """All options of a class of settings, or those of some names."""

    def decorate(command: Command) -> Command:
        for each, option, group in reversed(list(list_options(kind))):
            if option.only != "python" and (not names or each.name in names):
                command = _make_option(each, option, group)(command)
        return command

    return decorate


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
