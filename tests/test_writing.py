"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from inference_model import make_model

from galmorph.errors import OutputError
from galmorph.model import write_heads, write_model
from galmorph.tables import open_writer, result_columns
from galmorph.tables.columns import class_columns
from galmorph.tables.formats import list_suffixes
from galmorph.training.checkpoint import save_checkpoint
from galmorph.weights.locate import WeightsFile, copy_to_folder
from galmorph.writing import write_whole
from tests.tables.table_cases import CARRIED, make_block


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "a.bin", Path.write_bytes
    write_whole(path, b"before")

    def fill_up(self: Path, data: bytes) -> int:
        write(self, data[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", fill_up)
        with pytest.raises(OutputError, match=r"a\.bin: cannot be written .No space left"):
            write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert [*tmp_path.iterdir()] == [path]
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"
    assert [*tmp_path.iterdir()] == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "a.bin")
    write_whole(link, b"data")
    assert link.is_symlink()
    assert (tmp_path / "there" / "a.bin").read_bytes() == b"data"


def test_nothing_gets_its_name_before_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    named: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(file: int) -> None:
        fsync(file)
        synced.add(os.fstat(file).st_ino)

    def watch_replace(source: Path, target: Path) -> None:
        assert os.stat(source).st_ino in synced, target
        named.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    specs = result_columns(class_columns(["smooth", "spiral"]), embedding_dim=3, carried=CARRIED)
    results = [f"t{suffix}" for suffix in list_suffixes("classify")]
    for name in results:
        with open_writer(tmp_path / name, specs) as writer:
            writer.append(make_block(0, 40))
    model = make_model()
    write_model(tmp_path / "m.safetensors", model)
    write_heads(tmp_path / "h.safetensors", model.heads, model="m")
    save_checkpoint(tmp_path, {"step": 1})
    found = WeightsFile(tmp_path / "m.safetensors", "", "local", None, None)
    copy_to_folder(found, tmp_path / "folder")
    files = ("m.safetensors", "h.safetensors", "checkpoint.pt")
    assert {*results, *files} <= {*named} and named.count("m.safetensors") == 2
