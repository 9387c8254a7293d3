from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from galmorph.errors import ResumeError
from galmorph.flags import NO_LABEL
from galmorph.tables import ColumnSpec, journal, open_writer, read_partial
from galmorph.tables.journal import partial_path
from tests.tables import slow_writer
from tests.tables.table_cases import META, make_block

ROOT = Path(__file__).resolve().parents[2]
RUN = {"weights": {"sha256": "ab"}, "options": {"stretch": "auto", "eps": 1e-05}, "inputs": ["d"]}


def leave_partial(path, specs, rows=30, **options):
    writer = open_writer(path, specs, META, fingerprint=RUN, **options)
    writer.append(make_block(0, rows))
    writer.abandon()
    return partial_path(path)


def finish(path, specs, rows=50, fingerprint=RUN):
    with open_writer(path, specs, META, fingerprint=fingerprint, resume=True) as writer:
        done = writer.rows_done
        writer.append(make_block(done, rows))
    return done


def whole(folder, name, specs, rows=50):
    folder.mkdir()
    with open_writer(folder / name, specs, META, fingerprint=RUN) as writer:
        writer.append(make_block(0, rows))
    return (folder / name).read_bytes()


@pytest.mark.parametrize("form", ["csv", "ecsv", "fits", "vot", "jsonl", "npy", "parquet"])
def test_a_resumed_table_is_the_same_to_the_byte(form, tmp_path, specs):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"out.{form}"
    leave_partial(path, specs)
    assert finish(path, specs) == 30
    assert path.read_bytes() == whole(tmp_path / "whole", path.name, specs)
    assert not partial_path(path).exists()


def test_rows_without_a_label_are_counted(tmp_path, specs):
    path = tmp_path / "out.fits"
    leave_partial(path, specs)
    block = make_block(0, 50)
    inputs = list(zip(block["object_id"], block["path"], strict=True))
    with open_writer(path, specs, META, fingerprint=RUN, resume=True) as writer:
        assert list(writer.skip_done(inputs, key=lambda row: row)) == inputs[30:]
        assert writer.rows_failed == sum(bool(row & NO_LABEL) for row in range(30))
        writer.append(make_block(30, 50))


def test_any_cut_within_the_last_rows_is_mended(tmp_path, specs):
    path = tmp_path / "out.csv"
    partial = leave_partial(path, specs, rows=14)
    data = partial.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    expected = whole(tmp_path / "whole", path.name, specs, rows=14)
    for size in range(ends[-3], len(data) + 1, 3):
        partial.write_bytes(data[:size])
        rows = sum(end <= size for end in ends) - sum(end <= ends[-15] for end in ends)
        if size % 9 == 0:
            assert len(read_partial(partial)) == rows
        assert finish(path, specs, rows=14) == rows
        assert path.read_bytes() == expected


def test_a_torn_multibyte_letter_is_cut_with_its_row(tmp_path, specs):
    partial = leave_partial(tmp_path / "out.csv", specs, rows=4)
    data = partial.read_bytes()
    cut = data.rindex("á".encode()) + 1
    partial.write_bytes(data[:cut])
    assert finish(tmp_path / "out.csv", specs) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {"sha256": "cd"}}, ' weights.sha256: recorded "ab", now "cd"'),
        ({"inputs": ["d", "e"]}, r' inputs: recorded \["d"\], now \["d", "e"\]'),
        ({"options": {"stretch": "auto"}}, "options.eps: recorded 1e-05, now nothing"),
        ({"seed": 1}, " seed: recorded nothing, now 1"),
    ],
)
def test_another_run_is_refused_with_what_differs(change, message, tmp_path, specs):
    path = tmp_path / "out.fits"
    partial = leave_partial(path, specs)
    before = partial.read_bytes()
    with pytest.raises(ResumeError, match=message) as info:
        open_writer(path, specs, META, fingerprint={**RUN, **change}, resume=True)
    assert "start anew" in str(info.value)
    assert partial.read_bytes() == before
    assert finish(path, specs) == 30


def test_other_columns_are_refused(tmp_path, specs):
    path = tmp_path / "out.fits"
    leave_partial(path, specs)
    more = (*specs, ColumnSpec("z", "float32"))
    with pytest.raises(ResumeError, match=r'columns\.z: recorded nothing, now "float32"'):
        open_writer(path, more, META, fingerprint=RUN, resume=True)
    swapped = (*specs[:-2], specs[-1], specs[-2])
    with pytest.raises(ResumeError, match="the order of the columns"):
        open_writer(path, swapped, META, fingerprint=RUN, resume=True)


def test_other_provenance_or_wording_is_no_other_run(tmp_path, specs):
    path = tmp_path / "out.ecsv"
    leave_partial(path, specs)
    with open_writer(path, specs, {"host": "b"}, fingerprint=RUN, resume=True) as writer:
        assert writer.rows_done == 30
    assert '"host": "b"' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"object_id,path\n", b"# %ECSV 1.0\n# ---\na\n", b"\xff"])
def test_a_file_that_is_no_partial_result_is_not_touched(content, tmp_path, specs):
    partial = tmp_path / "out.csv.partial.ecsv"
    partial.write_bytes(content)
    with pytest.raises(ResumeError, match="no header of a partial result; delete it"):
        open_writer(tmp_path / "out.csv", specs, resume=True)
    assert partial.read_bytes() == content
    with pytest.raises(ResumeError, match="no header of a partial result"):
        read_partial(partial)


def test_a_damaged_row_is_refused(tmp_path, specs):
    partial = leave_partial(tmp_path / "out.csv", specs)
    with partial.open("ab") as file:
        file.write(b"only,three,cells\n")
    with pytest.raises(ResumeError, match="damaged: a line does not have 15 cells"):
        finish(tmp_path / "out.csv", specs)


def test_nothing_to_resume_is_a_fresh_start(tmp_path, specs):
    assert finish(tmp_path / "out.csv", specs) == 0


def rows_of(start, stop):
    block = make_block(start, stop)
    return list(zip(block["object_id"], block["path"], strict=True))


def test_inputs_that_are_done_are_skipped(tmp_path, specs):
    leave_partial(tmp_path / "out.csv", specs)
    with open_writer(tmp_path / "out.csv", specs, fingerprint=RUN, resume=True) as writer:
        assert list(writer.skip_done(rows_of(0, 45), key=lambda row: row)) == rows_of(30, 45)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (rows_of(1, 45), r"row 1 is '/d/0:plain.jpg', but .* is now '/d/1:with"),
        ([*rows_of(0, 29), ("x", ""), *rows_of(30, 45)], "row 30 is .* is now 'x'"),
        (rows_of(0, 20), "row 21 is .* is now missing"),
    ],
)
def test_inputs_that_have_changed_are_refused(inputs, message, tmp_path, specs):
    leave_partial(tmp_path / "out.csv", specs)
    with open_writer(tmp_path / "out.csv", specs, fingerprint=RUN, resume=True) as writer:
        with pytest.raises(ResumeError, match=message):
            writer.skip_done(inputs, key=lambda row: row)
        writer.abandon()


def hold_open(path, specs, ready, done):
    writer = open_writer(path, specs)
    ready.set()
    done.wait(30)
    writer.abandon()


@pytest.mark.skipif(os.name == "nt", reason="no POSIX locks")
@pytest.mark.parametrize("resume", [True, False])
def test_two_processes_do_not_write_one_result(resume, tmp_path, specs):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold_open, args=(tmp_path / "out.csv", specs, ready, done))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(ResumeError, match="another process is writing this result"):
            open_writer(tmp_path / "out.csv", specs, resume=resume)
    finally:
        done.set()
        other.join(30)
    with open_writer(tmp_path / "out.csv", specs, resume=resume) as writer:
        assert writer.rows_done == 0


def hold_before_moving(path, specs, ready, done):
    move = Path.replace

    def move_late(self, target):
        ready.set()
        done.wait(30)
        return move(self, target)

    Path.replace = move_late
    with open_writer(path, specs, fingerprint={"run": "first"}) as writer:
        assert writer.rows_done == 0
        record = read_partial(partial_path(path)).meta
        Path(f"{path}.seen").write_text(record["fingerprint"]["run"])
        Path.replace = move


@pytest.mark.skipif(os.name == "nt", reason="no POSIX locks")
@pytest.mark.parametrize(("earlier", "resume"), [(False, False), (True, False), (True, True)])
def test_of_two_that_start_together_one_goes_on(earlier, resume, tmp_path, specs):
    path = tmp_path / "out.csv"
    if earlier:
        leave_partial(path, specs)
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold_before_moving, args=(path, specs, ready, done))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(ResumeError, match=r"ecsv: another process is writing this result"):
            open_writer(path, specs, fingerprint=RUN, resume=resume)
    finally:
        done.set()
        other.join(30)
    assert other.exitcode == 0
    assert Path(f"{path}.seen").read_text() == "first"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out.csv", "out.csv.seen"]


def test_a_partial_result_that_is_replaced_while_it_is_opened_is_refused(
    tmp_path, specs, monkeypatch
):
    partial = leave_partial(tmp_path / "out.csv", specs)
    monkeypatch.setattr(journal, "_lock", lambda *_: partial.unlink(missing_ok=True))
    with pytest.raises(ResumeError, match="another process is writing this result"):
        open_writer(tmp_path / "out.csv", specs, fingerprint=RUN, resume=True)


@pytest.mark.parametrize(("times", "goes_on"), [(1, True), (99, False)])
def test_a_start_is_tried_again_where_another_process_was_faster(
    times, goes_on, tmp_path, specs, monkeypatch
):
    rounds = iter(range(times))
    new = tmp_path / "out.csv.partial.ecsv.new"
    monkeypatch.setattr(journal, "_lock", lambda *_: [new.unlink() for _ in islice(rounds, 1)])
    if goes_on:
        open_writer(tmp_path / "out.csv", specs).close()
        return
    with pytest.raises(ResumeError, match="another process is writing this result"):
        open_writer(tmp_path / "out.csv", specs)
    assert not list(tmp_path.iterdir())


def start_writer(path, rows, pause):
    command = [sys.executable, slow_writer.__file__, str(path), str(rows), str(pause)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def kill_after(path, rows, pause, seconds):
    """Whether the writer was still at work."""
    child = start_writer(path, rows, pause)
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    with child:
        return child.wait() == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_twenty_kills_lose_nothing_and_do_nothing_twice(tmp_path):
    rows, dice = 12_000, random.Random(20)
    path = tmp_path / "killed.fits"
    with slow_writer.open_run(tmp_path / "whole.fits", rows) as writer:
        for start in range(0, rows, 1000):
            writer.append(slow_writer.make_rows(list(range(start, start + 1000))))
    done = []
    for _ in range(20):
        assert kill_after(path, rows, 0.01, dice.uniform(0.0, 0.1))
        assert not path.exists()
        with partial_path(path).open("rb") as file:
            done.append(file.read().count(b"\n"))
    assert done == sorted(done)
    assert done[-1] > done[0], "no kill fell into the writing"
    # Five more while the final file is being made.
    slow_writer.write_rest(open_run_without_closing(path, rows), rows, 0)
    for _ in range(5):
        kill_after(path, rows, 0, dice.uniform(0.0, 0.05))
        if path.exists():
            break
    slow_writer.write_rest(slow_writer.open_run(path, rows), rows, 0)
    assert path.read_bytes() == (tmp_path / "whole.fits").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["killed.fits", "whole.fits"]


def open_run_without_closing(path, rows):
    writer = slow_writer.open_run(path, rows)
    writer.close = writer.abandon
    return writer
