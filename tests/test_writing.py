"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from galmorph.errors import OutputError
from galmorph.writing import write_whole


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
