from __future__ import annotations

import io
import threading

import pytest

from galmorph.cli.progress import Counter, Progress, format_duration
from galmorph.cli.summary import MAX_SHOWN, Summary
from galmorph.flags import Flags
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.inference.engine import Row


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1:00 min"), (3599, "59:59 min"), (7260, "2:01 h")]
)
def test_durations(seconds, said):
    assert format_duration(seconds) == said


def test_a_line_has_done_total_rate_time_left_and_failures():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, lambda: 1000, clock=clock)
    clock.now += 20
    progress.update(200, 3)
    assert stream.getvalue() == "200/1000, 10.0 images/s, 1:20 min left, 3 failed\n"


def test_the_rate_does_not_count_an_earlier_run():
    clock = Clock()
    progress = Progress(io.StringIO(), lambda: 1000, start=500, clock=clock)
    clock.now += 10
    assert "10.0 images/s, 40 s left" in progress.describe(600, 0)


def test_an_unknown_total_is_left_out():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, lambda: None, clock=clock)
    clock.now += 20
    progress.update(200, 0)
    assert stream.getvalue() == "200, 10.0 images/s, 0 failed\n"


def test_a_file_gets_few_lines_and_a_terminal_one():
    clock, file, terminal = Clock(), io.StringIO(), Terminal()
    plain = Progress(file, lambda: None, clock=clock)
    live = Progress(terminal, lambda: None, clock=clock)
    for done in range(100):
        clock.now += 0.25
        plain.update(done, 0)
        live.update(done, 0)
    live.close()
    assert file.getvalue().count("\n") == 2
    assert "\r" not in file.getvalue()
    assert terminal.getvalue().count("\r") == 101
    assert "\n" not in terminal.getvalue()


def test_the_counter_counts_in_the_background_and_can_be_stopped():
    counter = Counter([ImageFile("a", "")] * 1000)
    counter._thread.join(5)
    assert counter.total == 1000
    started = threading.Event()

    def endless():
        while True:
            started.set()
            yield ImageFile("a", "")

    counter = Counter(endless())
    assert started.wait(5)
    counter.stop()
    assert counter.total is None


def test_a_counter_whose_items_fail_knows_no_total():
    def broken():
        yield ImageFile("a", "")
        raise OSError("gone")

    counter = Counter(broken())
    counter._thread.join(5)
    assert counter.total is None


def test_the_counter_unpacks_no_container_a_second_time():
    unpacked = []

    def members():
        for number in range(9):
            unpacked.append(number)
            yield InMemory(f"g{number}", b"JPEG", f"s.tar.gz::g{number}.jpg")

    counter = Counter(members())
    counter._thread.join(5)
    assert (counter.total, unpacked) == (None, [0])


def test_failures_are_told_apart_where_many_rows_have_one_path():
    summary = Summary()
    said = {"flags": Flags.READ_FAILED, "message": "m.fits: no position here"}
    summary.add([Row(ImageFile("NGC 1", ""), "NGC 1", "m.fits", **said)], [""])
    summary.add([Row(ImageFile("m", ""), "m", "m.fits", **said)], [""])
    summary.add([Row(ImageFile("a", ""), "a", "s.tar::x/a.jpg", flags=Flags.READ_FAILED)], [""])
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
    summary.add(rows, ["spiral", "round", "spiral", "spiral"] + [""] * 14)
    text = summary.format(verb="classified", seconds=2.0, device="cpu", output="t.csv")
    lines = text.splitlines()
    assert lines[0] == "classified 4 of 18 cutouts in 2 s, 9.0 images/s"
    assert lines[1].split() == ["spiral", "3"]
    assert lines[2].split() == ["round", "1"]
    assert lines[3] == "flags: padded 1"
    assert lines[4] == "failed: 14"
    assert sum("cut short" in line for line in lines) == MAX_SHOWN
    assert "and 4 more" in text
    assert text.endswith("device: cpu\ntable: t.csv")


def test_a_message_without_a_path_gets_one():
    summary = Summary()
    summary.add([make_row(1, Flags.CONSTANT, "the field is empty")], [""])
    assert summary.failures == ["g1.jpg: the field is empty"]
