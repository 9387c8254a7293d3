"""What is loaded, and when: a start must be cheap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "astropy",
    "huggingface_hub",
    "PIL",
    "numpy",
    "safetensors",
)


def list_loaded(code: str) -> set[str]:
    """Heavy packages that are in memory after the code has run in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('LOADED', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    words = done.stdout.rpartition("LOADED")[2].split()
    return {word.partition(".")[0] for word in words} & set(HEAVY)


def test_importing_galmorph_loads_nothing_heavy():
    assert list_loaded("import galmorph; dir(galmorph)") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["classify", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "from galmorph.cli.main import cli\n"
        f"cli.main({arguments!r}, prog_name='galmorph', standalone_mode=False)"
    )
    assert list_loaded(code) == set()


def test_the_help_of_every_command_loads_nothing_heavy():
    code = (
        "from click.testing import CliRunner\n"
        "from galmorph.cli.main import COMMANDS, cli\n"
        "for name in COMMANDS:\n"
        "    assert CliRunner().invoke(cli, [name, '--help']).exit_code == 0, name"
    )
    assert list_loaded(code) == set()


def test_cheap_checks_come_before_torch():
    code = (
        "from click.testing import CliRunner\n"
        "from galmorph.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['classify', 'nowhere']).exit_code == 2\n"
        "assert CliRunner().invoke(cli, ['classify', '.', '-o', 't.doc']).exit_code == 2"
    )
    assert "torch" not in list_loaded(code)


def test_classifying_with_our_own_encoders_needs_neither_timm_nor_the_hub():
    code = "import galmorph; galmorph.classify; galmorph.load_model; galmorph.read_cutout"
    assert not list_loaded(code) & {"timm", "torchvision", "huggingface_hub", "astropy"}
