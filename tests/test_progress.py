from __future__ import annotations

import io
import math
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from galmorph.cli.run import MAX_SHOWN, Summary, format_duration
from galmorph.flags import ADVICE, NO_LABEL, Flags
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.inference.engine import Row
from galmorph.progress import count_items, show_progress
from galmorph.settings import ClassifyOptions, RunOptions


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1:00 min"), (3599, "59:59 min"), (7260, "2:01 h")]
)
def test_durations(seconds, said):
    assert format_duration(seconds) == said


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("shown", "lines"), [(True, True), (None, True), (False, False)])
def test_a_terminal_has_one_line_that_is_taken_off(monkeypatch, shown, lines):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("galmorph.progress.DELAY_S", 0)
    with show_progress(shown, items=range(8)) as report:
        for done in range(9):
            report(done, failed=1)
            time.sleep(0.06)
    said = terminal.getvalue()
    assert "\n" not in said
    assert said.rpartition("\r")[2] == ""
    if lines:
        for part in ("cutouts/s", "/8", "failed=1", "<"):
            assert part in said
    else:
        assert said == ""


def test_a_file_has_few_states_of_the_bar_and_only_where_it_is_wanted(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setattr("galmorph.progress.DELAY_S", 0)
    with show_progress() as report:
        report(5)
    assert file.getvalue() == ""
    with show_progress(True) as report:
        for done in range(1000):
            report(done)
    assert file.getvalue().count("cutouts") <= 2


def test_rows_of_an_earlier_run_do_not_make_it_faster(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("galmorph.progress.DELAY_S", 0)
    with show_progress(True, items=range(1_000_004)) as report:
        for done in range(4):
            report(1_000_001 + done, start=1_000_000)
            time.sleep(0.25)
    last = [part for part in terminal.getvalue().split("\r") if "cutouts/s" in part][-1]
    assert float(re.search(r"([0-9.]+) cutouts/s", last)[1]) < 100


def test_a_function_is_called_with_the_count():
    seen = []
    with show_progress(seen.append) as report:
        report(3, 1, 0)
    assert seen == [3]


def test_items_are_counted_and_counting_can_be_stopped():
    assert count_items([ImageFile("a", "")] * 1000, threading.Event()) == 1000
    started, stopped = threading.Event(), threading.Event()

    def endless():
        while True:
            started.set()
            yield ImageFile("a", "")

    with ThreadPoolExecutor(1) as thread:
        counted = thread.submit(count_items, endless(), stopped)
        assert started.wait(5)
        stopped.set()
        assert counted.result(5) is None


def test_of_items_that_fail_no_total_is_known():
    def broken():
        yield ImageFile("a", "")
        raise OSError("gone")

    assert count_items(broken(), threading.Event()) is None


def test_counting_unpacks_no_container_a_second_time():
    unpacked = []

    def members():
        for number in range(9):
            unpacked.append(number)
            yield InMemory(f"g{number}", b"JPEG", f"s.tar.gz::g{number}.jpg")

    assert (count_items(members(), threading.Event()), unpacked) == (None, [0])


def make_run(options):
    return SimpleNamespace(options=options, resumed=0, resumed_failed=0)


def test_failures_are_told_apart_where_many_rows_have_one_path():
    summary = Summary()
    said = {"flags": Flags.READ_FAILED, "message": "m.fits: no position here"}
    summary.add([Row(ImageFile("NGC 1", ""), "NGC 1", "m.fits", **said)], {})
    summary.add([Row(ImageFile("m", ""), "m", "m.fits", **said)], {})
    summary.add([Row(ImageFile("a", ""), "a", "s.tar::x/a.jpg", flags=Flags.READ_FAILED)], {})
    assert summary.failures[:2] == ["NGC 1: m.fits: no position here", "m.fits: no position here"]
    assert summary.failures[2] == "s.tar::x/a.jpg: "


def make_row(number, flags=Flags.NONE, message=""):
    return Row(
        ImageFile(f"g{number}", ""), f"g{number}", f"g{number}.jpg", flags=flags, message=message
    )


def test_a_summary_counts_labels_flags_and_failures():
    summary = Summary()
    rows = [make_row(n) for n in range(3)] + [make_row(3, Flags.PADDED)]
    rows += [make_row(n, Flags.READ_FAILED, f"g{n}.jpg: cut short") for n in range(4, 18)]
    labels = ["spiral", "round", "spiral", "spiral"] + [""] * 14
    summary.add(rows, {"label": labels, "confidence": [0.9, 0.4, 0.5, 0.3] + [math.nan] * 14})
    text = summary.format(make_run(ClassifyOptions(output="t.csv")), 2.0, "cpu")
    lines = text.splitlines()
    assert lines[0] == "classified 4 of 18 cutouts in 2 s, 9.0 images/s"
    assert lines[1].split() == ["spiral", "3"]
    assert lines[2].split() == ["round", "1"]
    assert lines[3].startswith("unsure: 2, no class with half of the votes")
    assert lines[4].startswith("padded 1 of 4: the field reaches beyond the frame: give larger")
    assert lines[5] == "failed: 14"
    assert sum("cut short" in line for line in lines) == MAX_SHOWN
    assert "and 4 more" in text
    assert lines[-3:-1] == ["device: cpu", "table: t.csv"]
    assert lines[-1] == "look at it: galmorph report t.csv -o report.html"


def test_a_message_without_a_path_gets_one():
    summary = Summary()
    summary.add([make_row(1, Flags.CONSTANT, "the field is empty")], {})
    assert summary.failures == ["g1.jpg: the field is empty"]


def test_identifiers_that_repeat_are_said():
    summary = Summary()
    summary.add([make_row(1), make_row(2)], {})
    summary.add([make_row(2), make_row(1), make_row(3)], {})
    text = summary.format(make_run(RunOptions(output="-")), 1.0, "cpu")
    assert "repeated: 2 rows have an object_id of before, 'g2' for one" in text


def test_every_remark_has_advice():
    remarks = {flag.name.lower() for flag in Flags if flag and not flag & NO_LABEL}
    assert set(ADVICE) == remarks
