"""How tests call a command."""

from __future__ import annotations

from click.testing import CliRunner, Result

from galmorph.cli.main import cli


def call(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result
