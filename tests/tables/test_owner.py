from __future__ import annotations

import json
import os
import time

import pytest

from galmorph.errors import ResumeError
from galmorph.tables import open_writer, owner
from tests.tables.table_cases import make_block

ELSEWHERE = {"token": "x", "host": "node7", "process": 7, "machine": "other", "started": "1"}


def leave_owner(path, age, **record):
    file = path.with_name(f"{path.name}.partial.owner")
    file.write_text(json.dumps({**ELSEWHERE, **record}))
    os.utime(file, (time.time() - age,) * 2)
    return file


@pytest.mark.parametrize("resume", [False, True])
def test_an_owner_on_another_machine_is_asked_for_its_heart(resume, tmp_path, specs, caplog):
    path = tmp_path / "out.csv"
    leave_owner(path, owner.STALE_S - 60)
    with pytest.raises(ResumeError, match=r"another process .*\(process 7 on node7\).* delete out"):
        open_writer(path, specs, resume=resume)
    leave_owner(path, owner.STALE_S + 60)
    with open_writer(path, specs, resume=resume) as writer:
        writer.append(make_block(0, 3))
    assert "taken over from process 7 on node7, which is gone" in caplog.text
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_a_dead_process_of_this_machine_is_replaced_at_once(tmp_path, specs, caplog):
    path = tmp_path / "out.csv"
    here = owner._identify(os.getpid())
    if not here["machine"]:
        pytest.skip("this system does not say")
    leave_owner(path, 0, **here, token="of an earlier process of the same number")
    open_writer(path, specs).close()
    leave_owner(path, 0, **{**here, "process": os.getppid(), "started": "0"})
    open_writer(path, specs).close()
    assert caplog.text.count("which is gone") == 2


def test_who_was_taken_for_dead_writes_no_more(tmp_path, specs):
    path = tmp_path / "out.csv"
    writer = open_writer(path, specs)
    writer.append(make_block(0, 3))
    file = leave_owner(path, 0)
    before = path.with_name("out.csv.partial").read_bytes()
    for act in (lambda: writer.append(make_block(3, 4)), writer.close):
        with pytest.raises(ResumeError, match="which it took over; this run writes no more"):
            act()
    assert path.with_name("out.csv.partial").read_bytes() == before
    assert not path.exists() and json.loads(file.read_text())["host"] == "node7"


def test_an_owner_beats(tmp_path, specs, monkeypatch):
    monkeypatch.setattr(owner, "BEAT_S", 0.01)
    writer = open_writer(tmp_path / "out.csv", specs)
    file = tmp_path / "out.csv.partial.owner"
    os.utime(file, (0, 0))
    until = time.monotonic() + 10
    while file.stat().st_mtime == 0 and time.monotonic() < until:
        time.sleep(0.01)
    assert file.stat().st_mtime > 0
    writer.abandon()
    assert not file.exists()


def test_without_links_an_exclusive_file_does(tmp_path, specs, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with open_writer(tmp_path / "out.csv", specs) as writer:
        writer.append(make_block(0, 3))
        with pytest.raises(ResumeError, match="another process is writing this result"):
            open_writer(tmp_path / "out.csv", specs)
