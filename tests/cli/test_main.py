from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from galmorph import settings
from galmorph.cli.main import COMMANDS, cli
from galmorph.cli.status import get_status
from galmorph.errors import DownloadError, OutputError, TableFormatError, UnknownModelError

ROOT = Path(__file__).resolve().parents[2]


def walk(command, path=()):
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            yield from walk(command.get_command(ctx, name), (*path, name))


def test_every_command_is_where_the_table_says():
    for name in COMMANDS:
        module = importlib.import_module(f"galmorph.cli.{name}")
        assert isinstance(getattr(module, name), click.Command)


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*x, id=" ".join(x[0])) for x in walk(cli)]
)
def test_every_command_and_option_explains_itself(path, command):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert command.help
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help or param.name == "output", (path, param.name)


def test_the_one_line_help_is_not_cut():
    for path, command in walk(cli):
        if path:
            short = command.get_short_help_str(limit=64)  # of a terminal of 80 columns
            assert short.endswith("."), path
            assert not short.endswith("..."), (path, short)


def test_options_stand_in_groups_and_the_rare_ones_below():
    lines = CliRunner().invoke(cli, ["classify", "--help"]).output.splitlines()
    heads = [line[:-1] for line in lines if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert heads == ["Options", "Input", "Pixels", "Model", "Engine", "Output", "Rarely needed"]


def test_names_written_out_are_the_real_ones():
    from galmorph.inference.devices import PRECISIONS
    from galmorph.preprocessing.stretch import get_stretch

    assert all(get_stretch(name).name == name for name in settings.STRETCHES)
    assert set(settings.PRECISIONS) == {"auto", *PRECISIONS}


def test_help_is_quick():
    command = [sys.executable, "-m", "galmorph", "--help"]
    before = os.times()  # of the processor: other work on the machine does not count
    for _ in range(3):
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    after = os.times()
    used = after.children_user + after.children_system
    assert (used - before.children_user - before.children_system) / 3 < 0.3


def test_the_page_of_commands_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "docs/make_cli.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_unknown_command_is_a_usage_error():
    result = CliRunner().invoke(cli, ["clasify"])
    assert result.exit_code == 2
    assert "No such command 'clasify'. Did you mean 'classify'?" in result.stderr


def test_version():
    result = CliRunner().invoke(cli, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("galmorph")


def test_statuses():
    assert get_status(TableFormatError("x")) == 2
    assert get_status(UnknownModelError("x")) == 2
    assert get_status(OutputError("x")) == 1
    assert get_status(DownloadError("x")) == 1


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1), (0, 1, 2)])
def test_a_closed_stream_is_no_hindrance(closed, cutouts, tmp_path):
    """As some schedulers start their jobs."""
    table = tmp_path / "out.csv"
    shut = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    command = f"{sys.executable} -m galmorph classify {cutouts} -o {table} {shut}"
    done = subprocess.run(command, shell=True, cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(table.read_text(encoding="utf-8").splitlines()) == 6


@pytest.mark.parametrize("closed", [(0, 1, 2), (1, 2), (2,)])
def test_files_do_not_take_the_numbers_of_closed_streams(closed, tmp_path):
    """Else they would get what a library prints."""
    code = (
        "from galmorph.cli.main import _open_closed_streams as f; import os; f(); "
        f"n = os.open({str(tmp_path / 'n')!r}, os.O_CREAT | os.O_WRONLY); os.write(n, b'%d' % n)"
    )
    shut = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    command = f'{sys.executable} -c "{code}" {shut}'
    subprocess.run(command, shell=True, cwd=ROOT, check=True)
    assert int((tmp_path / "n").read_text(encoding="utf-8")) > 2


def test_a_result_is_not_written_to_a_closed_output(cutouts):
    command = f"{sys.executable} -m galmorph classify {cutouts} -o - >&-"
    done = subprocess.run(command, shell=True, cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 1
    assert b"Error: standard output is closed; name a file with -o" in done.stderr


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "cla", {"classify"}),
        (["classify", "--head"], "", {"gz2", "sdss", "decals", "decals4", "file:"}),
        (["classify", "--model"], "gal", {"file:gal"}),
        (["classify"], "cut", {"file:cut"}),
        (["classify", "a.jpg", "-o"], "t", {"file:t"}),
        (["fit"], "lab", {"file:lab"}),
        (["classify", "--stretch"], "l", {"legacysurvey", "lupton"}),
        (["classify", "--catalogue"], "", {"file:"}),
    ],
)
def test_the_shell_completes_names_and_files(words, incomplete, expected):
    from click.shell_completion import ShellComplete

    found = ShellComplete(cli, {}, "galmorph", "_GALMORPH_COMPLETE").get_completions(
        words, incomplete
    )
    names = {f"file:{item.value}" if item.type == "file" else item.value for item in found}
    assert expected <= names
    assert all(name.removeprefix("file:").startswith(incomplete) for name in names)
