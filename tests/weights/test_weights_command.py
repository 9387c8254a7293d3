"""``galmorph weights``: what the commands print, and how they end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from weights_samples import make_entry

from galmorph.cli.main import cli
from galmorph.weights import locate as locate_module
from galmorph.weights.manifest import ManifestEntry

UseManifest = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("clean_environment")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["weights", *map(str, arguments)])


@pytest.fixture
def carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_bytes: bytes, clean_environment: Path
) -> ManifestEntry:
    """An entry that the package carries."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    (folder / "carried.safetensors").write_bytes(weights_bytes)
    monkeypatch.setattr(locate_module, "BUNDLED", folder)
    return make_entry(
        weights_bytes, name="carried", repo_id=None, revision=None, bundled="carried.safetensors"
    )


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in ("list", "download", "verify", "path"):
        assert command in result.output
        assert run(command, "--help").exit_code == 0


def test_list_says_where_each_model_is(
    carried: ManifestEntry, published: ManifestEntry, use_manifest: UseManifest
) -> None:
    loose = make_entry(
        b"x",
        name="loose",
        kind="timm",
        pinned=False,
        revision=None,
        sha256=None,
        size=None,
        repo_id="others/loose",
    )
    use_manifest(carried, published, loose)
    lines = run("list").output.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "WIDTH", "SIZE", "WHERE", "HEADS"]
    assert lines[1].split() == ["carried", "galmorph", "512", "0.2", "MB", "bundled", "-"]
    assert lines[2].split()[5:7] == ["hub", "galaxies/demo"]
    assert "hub others/loose (not pinned)" in lines[3]
    run("download", "demo")
    assert run("list").output.splitlines()[2].split()[5] == "cache"


def test_list_as_json_is_the_manifest(use_manifest: UseManifest, carried: ManifestEntry) -> None:
    use_manifest(carried)
    (entry,) = json.loads(run("list", "--json").output)
    assert entry["name"] == "carried"
    assert entry["input"]["img_size"] == 84


def test_the_shipped_manifest_is_listed() -> None:
    result = run("list")
    assert result.exit_code == 0
    assert "zoobot_convnext_nano" in result.output


def test_download_puts_one_into_the_cache(
    published: ManifestEntry, use_manifest: UseManifest, clean_environment: Path
) -> None:
    use_manifest(published)
    result = run("download", "demo")
    assert result.exit_code == 0
    name, path = result.stdout.split()
    assert name == "demo"
    assert Path(path).is_relative_to(clean_environment / "hub")
    assert Path(path).is_file()


def test_download_all_to_a_folder_prepares_a_machine_without_network(
    published: ManifestEntry,
    carried: ManifestEntry,
    use_manifest: UseManifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_manifest(published, carried)
    folder = tmp_path / "for the node"
    result = run("download", "--all", "--to", folder)
    assert result.exit_code == 0, result.output
    assert f"GALMORPH_WEIGHTS_DIR={folder}" in result.stderr
    assert sorted(p.name for p in folder.glob("*.safetensors")) == [
        "carried.safetensors",
        "demo.safetensors",
    ]
    monkeypatch.setenv("HF_HOME", str(tmp_path / "node"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run("path", "demo").exit_code == 1
    monkeypatch.setenv("GALMORPH_WEIGHTS_DIR", str(folder))
    assert run("path", "demo").stdout.strip() == str(folder / "demo.safetensors")
    assert run("path", folder / "demo.safetensors").exit_code == 0
    assert "ok" in run("verify", "demo").stdout


def test_download_wants_to_know_what() -> None:
    result = run("download")
    assert result.exit_code == 2
    assert "Give the NAME of a model, or --all" in result.output


def test_an_unknown_name_lists_the_known_ones() -> None:
    for command in ("download", "path", "verify"):
        result = run(command, "nonsense")
        assert result.exit_code == 2
        assert "no model 'nonsense'; known: " in result.output
        assert "Traceback" not in result.output


def test_verify_reads_every_byte(
    carried: ManifestEntry, use_manifest: UseManifest, weights_bytes: bytes
) -> None:
    use_manifest(carried)
    good = run("verify")
    assert (good.exit_code, good.stdout.split()[:2]) == (0, ["carried", "ok"])
    path = locate_module.BUNDLED / "carried.safetensors"
    path.write_bytes(weights_bytes[:-1] + b"?")
    bad = run("verify")
    assert bad.exit_code == 1
    assert "carried  BAD" in bad.stdout
    assert path.name in bad.stdout
    assert "1 files are not the published ones" in bad.output


def test_verify_says_what_is_not_here(
    carried: ManifestEntry, published: ManifestEntry, use_manifest: UseManifest
) -> None:
    use_manifest(carried, published)
    absent = "demo  not on this machine (galmorph weights download demo)"
    every = run("verify")
    assert every.exit_code == 0
    assert every.stdout.splitlines()[1] == absent
    named = run("verify", "carried", "demo")
    assert named.exit_code == 1
    assert named.stdout.splitlines()[1] == absent
    assert run("verify", "carried").exit_code == 0


def test_an_error_is_one_line(published: ManifestEntry, use_manifest: UseManifest) -> None:
    use_manifest(dataclasses.replace(published, revision="1" * 40))
    result = run("path", "demo")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "has no such revision" in result.stderr
    assert "Traceback" not in result.output
