"""Write docs/cli.md from the help texts of the commands; --check only compares.

Run from the repository: python docs/make_cli.py [--check]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

TARGET = Path(__file__).with_name("cli.md")
WIDTH = 100

HEAD = """# Commands

Made from the help texts by `docs/make_cli.py`; do not edit.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | some cutouts failed, with `--strict`; or the run could not be carried out (weights that cannot be had, a missing extra, a disk that is full) |
| 2 | usage: an option, a path, a column, a head, a device or an output format that is not there |
| 3 | nothing could be read |
| 130 | interrupted with Ctrl-C; with `-o` the finished rows are kept, and `--resume` goes on |
| 143 | ended by SIGTERM, as schedulers do when the time of a job is over; otherwise as 130 (`pretrain` ends with 130 in both cases, after writing a checkpoint) |

The shell completes commands, options, files, and the names of heads and models once it is told to:

```bash
eval "$(_GALMORPH_COMPLETE=bash_source galmorph)"   # in ~/.bashrc
eval "$(_GALMORPH_COMPLETE=zsh_source galmorph)"    # in ~/.zshrc
_GALMORPH_COMPLETE=fish_source galmorph | source    # in ~/.config/fish/config.fish
```
"""  # noqa: E501


def walk(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    """One section per command, groups before their members."""
    settings = {**command.context_settings, "terminal_width": WIDTH}
    ctx = click.Context(command, info_name=name, parent=parent, **settings)
    level = "#" * (2 if ctx.parent is None or ctx.parent.parent is None else 3)
    yield f"{level} {ctx.command_path}\n\n```text\n{command.get_help(ctx)}\n```\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(ctx):
            found = command.get_command(ctx, child)
            if found is not None and not found.hidden:
                yield from walk(found, child, ctx)


def make_page() -> str:
    """The page as it should be."""
    from galmorph.cli.main import cli

    os.environ["COLUMNS"] = str(WIDTH)
    sections = "\n".join(walk(cli, "galmorph", None))
    return "\n".join(line.rstrip() for line in f"{HEAD}\n{sections}".splitlines()) + "\n"


def main() -> int:
    """Write or compare."""
    page = make_page()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(page, encoding="utf-8")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == page:
        return 0
    print(f"{TARGET} is out of date: run python docs/make_cli.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
