"""Reading in processes: the same rows, and one row lost for each process that dies."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import Hostile
from synthetic import make_rgb, write_fits

from galmorph.errors import UnreadableImageError
from galmorph.flags import Flags
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.source import Source, replace_columns
from galmorph.inference import engine, nursery, processes
from galmorph.inference.backends import open_backend
from galmorph.inference.engine import run_inference
from galmorph.inference.processes import Readers, _may_crash
from galmorph.inference.reading import ReadBlock, Reader, concatenate_blocks
from galmorph.inference.workers import Workers
from galmorph.model import Model
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.settings import EngineOptions, FieldOptions, ReadOptions, RenderOptions

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@pytest.fixture(scope="module")
def reader() -> Reader:
    steps = Preprocessing(crop=0.5)
    return Reader(steps, ReadOptions(), FieldOptions(), RenderOptions())


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    made = Workers(1, "test", lambda: None)
    yield made
    made.close()


@pytest.fixture
def readers(reader: Reader, workers: Workers) -> Iterator[Readers]:
    made = Readers(reader, workers, everything=False)
    yield made
    made.close()


@pytest.fixture
def files(tmp_path: Path) -> list[Source]:
    """Eight FITS files."""
    for k in range(8):
        flux = np.random.default_rng(k).normal(1, 0.2, (3, 60, 60)).astype(np.float32)
        write_fits(tmp_path / f"g{k}.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    return list(discover_sources(tmp_path))


@pytest.fixture
def sources(mixed_folder: Path, files: list[Source], tmp_path: Path) -> list[Source]:
    """Good files, bad ones, FITS with notes, bytes and arrays; with catalogue columns."""
    listed = [*discover_sources(mixed_folder), *files]
    jpeg, fits = (Path(listed[k].address).read_bytes() for k in (0, -1))
    listed += [InMemory("jpeg", jpeg), InMemory("fits", fits), ImageFile("none", "/no/no.fits")]
    listed.insert(3, InMemory("array", make_rgb(100)))
    listed.insert(3, ImageFile("folder", str(tmp_path)))
    return [replace_columns(source, {"z": i}) for i, source in enumerate(listed)]


def check_same(found: ReadBlock, expected: ReadBlock) -> None:
    assert found.good == expected.good
    for a, b in zip(found.rows, expected.rows, strict=True):
        assert repr(a.error) == repr(b.error) and type(a.error) is type(b.error)
        for name in ("object_id", "path", "ra", "dec", "fov", "crop", "flags", "message", "notes"):
            np.testing.assert_equal(getattr(a, name), getattr(b, name))
        assert a.source.columns == b.source.columns and not isinstance(a.source, InMemory)
    assert found.pixels is not None and expected.pixels is not None
    np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_rows_and_pixels_are_those_of_threads(
    reader: Reader, readers: Readers, sources: list[Source]
) -> None:
    expected = reader.read_block(sources)
    assert {row.flags & Flags.READ_FAILED for row in expected.rows} == {Flags(0), Flags.READ_FAILED}
    for _ in range(2):
        check_same(readers.read_block(sources), expected)
    assert not readers.read_block([]).rows


@pytest.mark.parametrize("room", [nursery.ARRAY_BYTES, 100_000])
def test_flux_in_memory_is_prepared_in_processes_once_there_are_some(
    reader: Reader, readers: Readers, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(nursery, "ARRAY_BYTES", room)  # the second has no place for all
    reader = replace(reader, read=ReadOptions(bands=("g", "r", "z")))
    readers._reader = readers._risky._reader = reader
    flux = np.random.default_rng(0).normal(1, 0.2, (9, 3, 60, 60)).astype(np.float32)
    flux[2, 0] = np.nan
    arrays = [*flux[:6], flux[6][:, ::-1], flux[7][:, ::2], flux[8].astype(">f8"), flux[:, 0, 0, 0]]
    given = [InMemory(f"a{k}", array, "", {"z": k}) for k, array in enumerate(arrays)]
    expected = reader.read_block(given)
    assert expected.rows[2].notes["empty_bands"] == "g" and expected.rows[-1].error
    while not (used := bool(readers._risky._children)):
        check_same(readers.read_block(given), expected)
    check_same(readers.read_block(given), expected)
    assert used and np.isnan(flux[2, 0]).all()


def test_what_is_read_in_processes(sources: list[Source], tmp_path: Path) -> None:
    risky = {source.object_id for source in sources if _may_crash(source)}
    assert risky == {*(f"g{k}" for k in range(8)), "fits", "none", "folder"}
    os.mkfifo(tmp_path / "fifo")
    assert _may_crash(ImageFile("fifo", str(tmp_path / "fifo")))  # and nobody waited for its writer
    misnamed = tmp_path / "really.jpg"
    misnamed.write_bytes((tmp_path / "g0.fits").read_bytes())
    assert _may_crash(ImageFile("misnamed", str(misnamed)))


@pytest.mark.parametrize(
    ("name", "words"),
    [("abort", "a library crashes"), ("sleep", "more than 2 s"), ("eat", "not enough memory")],
)
def test_a_process_that_dies_costs_its_row(
    reader: Reader,
    readers: Readers,
    files: list[Source],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: str,
) -> None:
    if name == "sleep":
        monkeypatch.setattr(nursery, "SECONDS", 2.0)
    expected = reader.read_block(files)
    hostile: list[Source] = [*files]
    hostile[2] = hostile[7] = Hostile(name, files[0].address)
    found = readers.read_block(hostile)
    assert found.good == [0, 1, 3, 4, 5, 6]
    assert expected.pixels is not None and found.pixels is not None
    np.testing.assert_array_equal(found.pixels, expected.pixels[found.good])
    for k in (2, 7):
        row = found.rows[k]
        assert row.flags == Flags.READ_FAILED | Flags.READER_CRASHED
        assert row.path == files[0].address and row.message.startswith(f"{row.path}: ")
        assert words in row.message
    if name == "eat":
        assert 50e6 < int(Path(f"{files[0].address}.held").read_text()) < 150e6
    check_same(readers.read_block(files), expected)


def test_memory_that_runs_out_in_python_is_said_and_replaces_the_process(
    reader: Reader, workers: Workers, files: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery, "MEMORY_BYTES", 30 << 20)
    monkeypatch.setattr(nursery, "MEMORY_PER_PIXEL", 0)
    flux = np.random.default_rng(0).normal(size=(3, 2000, 2000)).astype(np.float32)
    write_fits(Path(files[3].address), flux, BANDS="grz")
    made = Readers(reader, workers, everything=False)
    found = made.read_block(files)
    children = len(made._risky._children)
    made.close()
    assert children == 1  # the second one
    assert found.good == [0, 1, 2, 4, 5, 6, 7]
    assert found.rows[3].flags == Flags.READ_FAILED | Flags.READER_CRASHED
    assert "not enough memory" in found.rows[3].message


def test_processes_that_are_killed_from_outside_are_replaced(
    reader: Reader, readers: Readers, files: list[Source]
) -> None:
    expected = reader.read_block(files)
    check_same(readers.read_block(files), expected)
    (child,) = readers._risky._children
    os.kill(child._pid, signal.SIGKILL)
    found = readers.read_block(files)
    assert [bool(row.flags & Flags.READER_CRASHED) for row in found.rows] == [True] + [False] * 7
    check_same(readers.read_block(files), expected)


def test_a_nursery_that_is_killed_is_replaced(readers: Readers, files: list[Source]) -> None:
    readers.read_block(files)
    nursery_of_all = processes._nurseries[os.getpid(), False]
    nursery_of_all._process.kill()
    nursery_of_all._process.wait()
    (child,) = readers._risky._children
    wait_for(lambda: not os.path.exists(f"/proc/{child._pid}"))
    found = readers.read_block(files)
    assert sum(bool(row.flags & Flags.READER_CRASHED) for row in found.rows) <= 1
    assert readers._risky._children and child not in readers._risky._children


def test_where_no_process_can_be_had_threads_read(
    reader: Reader,
    readers: Readers,
    sources: list[Source],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(processes, "_nurseries", {})
    monkeypatch.setattr(nursery.sys, "executable", "/nowhere/python")
    with caplog.at_level(logging.WARNING):
        check_same(readers.read_block(sources), reader.read_block(sources))
    assert "no processes can be had" in caplog.text


def test_closing_ends_a_reader_that_is_busy(
    reader: Reader, workers: Workers, files: list[Source]
) -> None:
    made = Readers(reader, workers, everything=False)
    made.read_block(files[:1])
    errors: list[BaseException] = []

    def read() -> None:
        try:
            made.read_block([Hostile("sleep", files[0].address)])
        except InterruptedError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    made.close()
    thread.join(5)
    assert not thread.is_alive() and time.monotonic() - began < 2
    assert "stopped" in str(errors[0])


def test_an_error_that_cannot_be_sent_keeps_its_words() -> None:
    class OddError(Exception):
        def __init__(self, one: str, two: str) -> None:
            super().__init__(f"{one} {two}")

    sent = nursery._make_portable(OddError("odd", "words"))
    assert isinstance(sent, RuntimeError) and str(sent) == "OddError: odd words"
    known = UnreadableImageError("damaged", "a.jpg")
    assert nursery._make_portable(known) is known


@pytest.mark.parametrize("everything", [False, True])
def test_a_run_with_processes_is_the_run_without(
    model: Model,
    sources: list[Source],
    monkeypatch: pytest.MonkeyPatch,
    everything: bool,
) -> None:
    options = EngineOptions(device="cpu", batch_size=4, workers=2, precision="float32")
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_may_crash", lambda _: False)
        expected = concatenate_blocks(list(run_inference(model, sources, options=options)))
    if everything:
        monkeypatch.setattr(engine, "MANY_WORKERS", 1)
        monkeypatch.setattr(processes, "BLOCKS_HERE", 0)
        monkeypatch.setattr(processes._Pool, "is_up", lambda _: True)
    found = concatenate_blocks(list(run_inference(model, sources, options=options)))
    np.testing.assert_allclose(found.embeddings, expected.embeddings, atol=1e-5)
    for name in ("object_id", "path", "message", "flags", "notes"):
        mine, other = ([getattr(r, name) for r in b.rows] for b in (found, expected))
        assert mine == other
    assert [r.source.columns for r in found.rows] == [{"z": k} for k in range(len(sources))]
    assert not any(isinstance(row.source, InMemory) for row in found.rows)


def test_closing_a_run_early_leaves_no_process_of_it(
    model: Model, files: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Readers] = []

    class Spy(Readers):
        def __init__(self, reader: Reader, workers: Workers, *, everything: bool) -> None:
            super().__init__(reader, workers, everything=everything)
            made.append(self)

    monkeypatch.setattr(engine, "Readers", Spy)
    blocks = run_inference(
        model,
        files * 20,
        options=EngineOptions(device="cpu", batch_size=4, workers=2, precision="float32"),
    )
    next(blocks)
    children = list(made[0]._risky._children)
    assert children
    blocks.close()  # type: ignore[attr-defined]
    wait_for(lambda: not any(os.path.exists(f"/proc/{child._pid}") for child in children))


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_others_go_on_while_a_file_is_slow(
    model: Model, files: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    usual = open_backend(model, device="cpu", precision="float32")
    monkeypatch.setattr(engine, "open_backend", lambda *_, **__: replace(usual, device=device))
    monkeypatch.setattr(nursery, "SECONDS", 300.0)
    monkeypatch.setattr(nursery, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(engine, "SLOW_SECONDS", 0.1)
    slow = [Hostile(f"wait{k}", f"{tmp_path}/g{k}.fits") for k in range(3)]

    def hand_out() -> Iterator[Source]:
        yield from slow
        for number in range(60):
            yield replace(files[5], object_id=f"g{number}")
        for source in slow:
            Path(f"{source.path}.go").touch()

    options = EngineOptions(device="cpu", batch_size=1, workers=1, precision="float32")
    found = concatenate_blocks(list(run_inference(model, hand_out(), options=options)))
    names = [f"wait{k}" for k in range(3)] + [f"g{k}" for k in range(60)]
    assert [(row.object_id, row.message) for row in found.rows] == [(name, "") for name in names]
    assert np.isfinite(found.embeddings).all()


def test_few_rows_wait_for_a_slow_file(
    model: Model, files: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(engine, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(engine, "ROWS_WAITING", 12)
    handed_out: list[str] = []

    def hand_out() -> Iterator[Source]:
        for source in (Hostile("wait", f"{tmp_path}/g0.fits"), *(files[1:] * 6)):
            handed_out.append(source.object_id)
            yield source

    options = EngineOptions(device="cpu", batch_size=2, workers=1, precision="float32")
    blocks = run_inference(model, hand_out(), options=options)
    thread = threading.Thread(target=lambda: found.extend(blocks))
    found: list[Any] = []
    thread.start()
    wait_for(lambda: len(handed_out) == 12)
    time.sleep(0.5)
    assert len(handed_out) == 12 and not found
    (tmp_path / "g0.fits.go").touch()
    thread.join(30)
    assert [row.object_id for block in found for row in block.rows] == handed_out
    assert len(handed_out) == 1 + 6 * 7


def test_nobody_steps_aside_while_a_file_takes_all_of_a_core(
    model: Model, files: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery, "SLOW_SECONDS", 0.1)
    sources = [Hostile(f"work{k}", f"{tmp_path}/g0.fits") for k in range(6)]
    options = EngineOptions(device="cpu", batch_size=1, workers=1, precision="float32")
    found = concatenate_blocks(list(run_inference(model, sources, options=options)))
    assert not any(row.error for row in found.rows)
    processes_used = (tmp_path / "g0.fits.done").read_text().split()
    assert len(processes_used) == 6 and len({*processes_used}) == 1


def test_a_file_that_waits_is_given_up_when_nothing_else_is_left(
    model: Model, files: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(processes, "MANY_FILES", 20)
    monkeypatch.setattr(processes, "TIMES", 10)
    monkeypatch.setattr(processes, "LEAST_SECONDS", 0.5)
    sources: list[Source] = [Hostile("sleep", f"{tmp_path}/g0.fits"), *(files[1:] * 4)]
    options = EngineOptions(device="cpu", batch_size=1, workers=1, precision="float32")
    found = concatenate_blocks(list(run_inference(model, sources, options=options)))
    assert [bool(row.error) for row in found.rows] == [True] + 28 * [False]
    assert found.rows[0].flags == Flags.READ_FAILED | Flags.READER_CRASHED
    assert "while nothing else was left to do" in found.rows[0].message


def test_whoever_was_aside_comes_back_when_there_is_a_turn() -> None:
    made, lock, ready = Workers(2, "test", lambda: None), threading.Lock(), threading.Event()
    at_work = most = 0

    def count(number: int) -> None:
        nonlocal at_work, most
        with lock:
            at_work += number
            most = max(most, at_work)

    def work(slow: bool) -> None:
        if slow:
            with made.step_aside():
                ready.wait(20)
        count(1)
        time.sleep(0.002)
        count(-1)

    futures = [made.submit(partial(work, number < 10)) for number in range(60)]
    for future in futures[30:40]:
        future.result(20)
    assert made.aside == 10 and not any(future.done() for future in futures[:10])
    ready.set()
    for future in futures:
        future.result(20)
    assert most == 2 and made.aside == 0
    made.close()


def test_closed_workers_forget_what_they_have_not_begun() -> None:
    made, begun, go = Workers(1, "test", lambda: None), threading.Event(), threading.Event()
    first = made.submit(lambda: begun.set() or go.wait(20))
    second = made.submit(lambda: pytest.fail("it was begun"))
    begun.wait(20)
    threading.Timer(0.05, go.set).start()
    made.close()
    assert first.done() and second.cancelled()
