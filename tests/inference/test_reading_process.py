"""Reading in processes of their own: the same rows, whatever happens to the processes."""

from __future__ import annotations

import io
import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_rgb, write_fits

from galmorph.errors import UnreadableImageError
from galmorph.images.band_files import BandFiles
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.mosaic import MosaicPosition
from galmorph.images.options import ReadOptions
from galmorph.images.source import Region, Source, replace_columns
from galmorph.images.stacks import StackItem
from galmorph.images.tar import TarMember
from galmorph.inference import engine, reading_process
from galmorph.inference.backends import Backend, open_backend
from galmorph.inference.blocks import ReadBlock, Row, concatenate_blocks
from galmorph.inference.engine import EngineOptions, run_inference
from galmorph.inference.reading import Reader
from galmorph.inference.reading_process import ReaderProcesses, _Child, serve
from galmorph.model import Model
from galmorph.preprocessing.pipeline import FieldOptions, Preprocessing
from galmorph.preprocessing.render import RenderOptions


def wait_for(processes: ReaderProcesses) -> None:
    assert processes._starter is not None
    processes._starter.join()


def count_free(processes: ReaderProcesses) -> int:
    return processes._free.qsize()


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(Preprocessing(crop=0.5), ReadOptions(), FieldOptions(), RenderOptions())


@pytest.fixture(scope="module")
def processes(reader: Reader) -> Iterator[ReaderProcesses]:
    """Two processes that are up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_process, "BLOCKS_HERE", 0)
        made = ReaderProcesses(reader, 2)
        made.read_block([])
        wait_for(made)
    yield made
    made.close()


@pytest.fixture
def sources(mixed_folder: Path, tmp_path: Path) -> list[Source]:
    """Good files, bad ones, FITS with notes, and a JPEG in memory; with catalogue columns."""
    flux = np.random.default_rng(0).normal(1, 0.2, (3, 60, 60)).astype(np.float32)
    write_fits(tmp_path / "d.fits", flux, BANDS="grz", SURVEY="LegacySurvey")
    listed = [*discover_sources(mixed_folder), *discover_sources(tmp_path / "d.fits")]
    data = (mixed_folder / "galaxy_00.jpg").read_bytes()
    listed += [InMemory("memory", data), ImageFile("none", "/nowhere/none.jpg")]
    return [replace(source, columns={"z": i}) for i, source in enumerate(listed)]


def check_same(found: ReadBlock, expected: ReadBlock) -> None:
    assert found.good == expected.good
    for a, b in zip(found.rows, expected.rows, strict=True):
        assert repr(a.error) == repr(b.error) and type(a.error) is type(b.error)
        assert repr(replace(a, error=None)) == repr(replace(b, error=None))
        assert a.flags is b.flags or a.flags == b.flags
    if expected.pixels is None:
        assert found.pixels is None
    else:
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert found.pixels.dtype == expected.pixels.dtype


def test_rows_and_pixels_are_those_of_the_reader(
    processes: ReaderProcesses,
    reader: Reader,
    sources: list[Source],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = 0
    read_block = _Child.read_block

    def count(child: _Child, some: Sequence[Source]) -> ReadBlock:
        nonlocal served
        served += 1
        return read_block(child, some)

    monkeypatch.setattr(_Child, "read_block", count)
    for some in (sources, sources[:1], sources[1:2], sources[:3]):
        check_same(processes.read_block(some), reader.read_block(some))
    assert served == 4 and count_free(processes) == 2


def test_objects_in_memory_are_read_here(
    processes: ReaderProcesses, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Child, "read_block", None)
    some = [InMemory("a", make_rgb(100, seed=1))]
    check_same(processes.read_block(some), reader.read_block(some))


def test_a_small_job_starts_no_process(reader: Reader, sources: list[Source]) -> None:
    processes = ReaderProcesses(reader, 2)
    for _ in range(3):
        check_same(processes.read_block(sources[:2]), reader.read_block(sources[:2]))
    assert processes._starter is None and processes._children == []
    processes.close()


def test_nobody_waits_for_the_processes(
    reader: Reader, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_process, "BLOCKS_HERE", 0)
    release = threading.Event()
    monkeypatch.setattr(_Child, "is_ready", lambda _: release.wait(60))
    processes = ReaderProcesses(reader, 1)
    check_same(processes.read_block(sources), reader.read_block(sources))
    assert count_free(processes) == 0
    release.set()
    processes.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_process_that_is_killed_loses_no_row(
    reader: Reader,
    sources: list[Source],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(reading_process, "BLOCKS_HERE", 0)
    processes = ReaderProcesses(reader, 1)
    processes.read_block([])
    wait_for(processes)
    process = processes._children[0]._process
    process.send_signal(signal.SIGKILL)
    process.wait()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            check_same(processes.read_block(sources), reader.read_block(sources))
    assert caplog.text.count("a reading process is gone") == 1
    processes.close()


def test_where_no_process_can_be_started_the_threads_read(
    reader: Reader, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_process, "BLOCKS_HERE", 0)
    monkeypatch.setattr(reading_process.sys, "executable", "/nowhere/python")
    processes = ReaderProcesses(reader, 2)
    for _ in range(2):
        check_same(processes.read_block(sources), reader.read_block(sources))
        wait_for(processes)
    assert processes._children == []
    processes.close()


def test_closing_does_not_wait_for_processes_that_are_not_up(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_process, "BLOCKS_HERE", 0)
    processes = ReaderProcesses(reader, 2)
    processes.read_block([])
    processes.close()
    assert all(child._process.poll() is not None for child in processes._children)
    assert processes._starter is not None and not processes._starter.is_alive()


def test_a_source_is_sent_whole_but_for_the_columns_of_its_catalogue() -> None:
    region, columns = Region(150.0, 20.0, 30.0), {"z": 1.0}
    every = (
        ImageFile("a", "a.fits.gz", columns),
        InMemory("a", b"x", "a.tar.gz::x.jpg", columns),
        BandFiles.of("a", [("g", "a.fits")], columns),
        TarMember("a", "a.tar", "m", 512, 9, columns),
        StackItem("a", "a.npz", "m", 3, columns),
        MosaicPosition("a", "a.fits.gz", "/tmp/mosaic.fits", region, columns),
    )
    for source in every:
        kind, *values = pickle.loads(pickle.dumps(reading_process._pack_source(source)))
        assert kind(*values) == replace_columns(source, {})


def test_an_error_that_cannot_be_sent_keeps_its_words() -> None:
    class OddError(Exception):
        def __init__(self, one: str, two: str) -> None:
            super().__init__(one + two)

    row = Row(ImageFile("a", ""), "a", "a", error=OddError("odd ", "words"))
    sent = reading_process._unpack_row(ImageFile("a", ""), reading_process._pack_row(row))
    assert isinstance(sent.error, RuntimeError) and str(sent.error) == "OddError: odd words"
    known = replace(row, error=UnreadableImageError("damaged", "a.jpg"))
    sent = reading_process._unpack_row(ImageFile("a", ""), reading_process._pack_row(known))
    assert type(sent.error) is UnreadableImageError and sent.error.path == "a.jpg"


def test_serving_ends_with_the_requests(reader: Reader) -> None:
    replies = io.BytesIO()
    serve(io.BytesIO(pickle.dumps((reader, False))), replies)
    assert replies.getvalue() == b"ready\n"


def test_a_run_with_processes_is_the_run_without(
    model: Model,
    sources: list[Source],
    monkeypatch: pytest.MonkeyPatch,
    make_sources: Callable[[int], list[Source]],
) -> None:
    options = EngineOptions("cpu", 4, 2, "float32")
    everything = [*sources, *make_sources(3)]
    expected = concatenate_blocks(list(run_inference(model, everything, options=options)))
    started: list[ReaderProcesses] = []

    def open_with_lane(asked: Model, **given: str | None) -> Backend:
        return replace(open_backend(asked, **given), device="mps")  # type: ignore[arg-type]

    class Spy(ReaderProcesses):
        def __init__(self, reader: Reader, count: int) -> None:
            super().__init__(reader, count)
            started.append(self)
            self.read_block([])
            wait_for(self)

    monkeypatch.setattr(reading_process, "BLOCKS_HERE", 0)
    monkeypatch.setattr(engine, "open_backend", open_with_lane)
    monkeypatch.setattr(engine, "ReaderProcesses", Spy)
    found = concatenate_blocks(list(run_inference(model, everything, options=options)))
    assert len(started[0]._children) == 2
    assert all(child._process.poll() is not None for child in started[0]._children)
    np.testing.assert_allclose(found.embeddings, expected.embeddings, atol=1e-5)
    for name in ("object_id", "path", "message"):
        assert [getattr(row, name) for row in found.rows] == [
            getattr(row, name) for row in expected.rows
        ]
    assert [row.source.columns for row in found.rows] == [
        row.source.columns for row in expected.rows
    ]
    assert not any(isinstance(row.source, InMemory) for row in found.rows)
