"""``galmorph export``: what it refuses; what it writes is tested with the engine that runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from galmorph.cli.main import cli
from galmorph.weights.manifest import load_manifest


def get_zoobot() -> str:
    return next(entry.name for entry in load_manifest().models if entry.kind == "timm")


@pytest.mark.parametrize("name", [get_zoobot(), "hf_hub:some/encoder", "hf_hub:some/encoder@v1"])
def test_encoders_of_timm_are_refused_before_anything_is_downloaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr("galmorph.pipeline.load_model", load)
    output = tmp_path / "m.onnx"
    result = CliRunner().invoke(cli, ["export", "--model", name, "-o", str(output)])
    assert result.exit_code == 2
    assert f"{name} is an encoder of timm; galmorph exports those of its own" in result.output
