from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from galmorph.errors import ResumeError
from galmorph.flags import NO_LABEL
from galmorph.tables import ColumnSpec, open_writer, read_partial
from galmorph.tables.journal import partial_path
from tests.tables import slow_writer
from tests.tables.damage import RUN, attack, leave_blocks, redo, whole
from tests.tables.table_cases import META, make_block

ROOT = Path(__file__).resolve().parents[2]


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


def test_any_cut_within_the_last_blocks_is_mended(tmp_path, specs):
    path = tmp_path / "out.csv"
    partial, ends = leave_blocks(path, specs, rows=14)
    data = partial.read_bytes()
    expected = whole(tmp_path / "whole", path.name, specs, rows=14)
    for size in range(ends[0], len(data) + 1, 97):
        partial.write_bytes(data[:size])
        rows = 7 * (sum(end <= size for end in ends) - 1)
        assert len(read_partial(partial)) == rows
        assert finish(path, specs, rows=14) == rows
        assert path.read_bytes() == expected


def test_a_changed_block_costs_its_own_rows_only(tmp_path, specs, caplog):
    path = tmp_path / "out.csv"
    partial, ends = leave_blocks(path, specs)
    data = bytearray(partial.read_bytes())
    data[ends[1] + 100] ^= 1
    data[ends[3] + 3] ^= 128
    partial.write_bytes(data)
    assert len(read_partial(partial)) == 28
    assert redo(path, specs) == [*range(7, 14), *range(21, 28)]
    assert "14 rows are damaged and will be done again" in caplog.text
    assert path.read_bytes() == whole(tmp_path / "whole", path.name, specs, rows=42)


def test_who_does_not_ask_for_gaps_goes_on_before_the_first(tmp_path, specs):
    path = tmp_path / "out.csv"
    partial, ends = leave_blocks(path, specs)
    data = bytearray(partial.read_bytes())
    data[ends[2] + 50] ^= 4
    partial.write_bytes(data)
    assert finish(path, specs, rows=42) == 14
    assert path.read_bytes() == whole(tmp_path / "whole", path.name, specs, rows=42)


def test_a_damaged_first_block_is_read_from_its_copy(tmp_path, specs):
    path = tmp_path / "out.csv"
    partial = leave_blocks(path, specs)[0]
    data = bytearray(partial.read_bytes())
    data[100] ^= 4
    partial.write_bytes(data)
    assert redo(path, specs) == []
    assert path.read_bytes() == whole(tmp_path / "whole", path.name, specs, rows=42)


def test_any_damage_is_mended_or_refused(tmp_path, specs):
    counts = attack(tmp_path, specs, 300, seed=7)
    assert counts["silent"] == counts["tracebacks"] == 0
    assert counts["same"] > 150 and counts["refused"] > 0


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
    assert "host: b" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"object_id,path\n", b"# %ECSV 1.0\n# ---\na\n", b"\xff"])
def test_a_file_that_is_no_partial_result_is_not_touched(content, tmp_path, specs):
    partial = tmp_path / "out.csv.partial"
    partial.write_bytes(content)
    with pytest.raises(ResumeError, match="is no partial result that can be read .*; delete it"):
        open_writer(tmp_path / "out.csv", specs, resume=True)
    assert partial.read_bytes() == content
    with pytest.raises(ResumeError, match="is no partial result"):
        read_partial(partial)


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
        with pytest.raises(ResumeError, match=r"partial: another process is writing this result"):
            open_writer(path, specs, fingerprint=RUN, resume=resume)
    finally:
        done.set()
        other.join(30)
    assert other.exitcode == 0
    assert Path(f"{path}.seen").read_text() == "first"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out.csv", "out.csv.seen"]


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
        done.append(len(read_partial(partial_path(path))))
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
