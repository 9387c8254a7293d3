"""The engine: order, completeness, laziness, threads, memory that runs out."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import make_rgb, write_jpeg

import galmorph
from galmorph.errors import DeviceError, GalmorphWarning, PixelError, UnreadableImageError
from galmorph.flags import Flags
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.source import Source
from galmorph.inference import engine
from galmorph.inference.engine import BATCHES_TOGETHER, BLOCKS_AHEAD, Block, Row, run_inference
from galmorph.model import Model
from galmorph.settings import EngineOptions

MakeSources = Callable[[int], list[Source]]


def make_options(**given: object) -> EngineOptions:
    defaults: dict[str, object] = {"device": "cpu", "precision": "float32", "workers": 2}
    return EngineOptions(**(defaults | {"batch_size": 4} | given))  # type: ignore[arg-type]


def run(model: Model, sources: Iterable[Source], **given: object) -> list[Block]:
    return list(run_inference(model, sources, options=make_options(**given)))


def join(blocks: list[Block]) -> tuple[list[Row], np.ndarray]:
    rows = [row for block in blocks for row in block.rows]
    return rows, np.concatenate([block.embeddings for block in blocks])


def engine_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("galmorph")]


def test_rows_come_in_order_none_missing(model: Model, mixed_folder: Path) -> None:
    rows, embeddings = join(run(model, discover_sources(mixed_folder)))
    assert [row.object_id for row in rows] == [f"galaxy_{i:02d}" for i in range(15)]
    assert embeddings.shape == (15, 512) and embeddings.dtype == np.float32
    for i, row in enumerate(rows):
        usable = i % 5 not in (1, 3)
        assert np.isfinite(embeddings[i]).all() == usable
        assert np.isnan(embeddings[i]).all() != usable
        assert bool(row.message) != usable
    assert all(rows[i].flags & Flags.READ_FAILED for i in (1, 6, 11))
    assert all(isinstance(rows[i].error, UnreadableImageError) for i in (1, 6, 11))
    assert all(rows[i].flags == Flags.CONSTANT for i in (3, 8, 13))
    assert "one value everywhere" in rows[3].message


def test_order_holds_when_the_first_file_is_the_slowest(
    model: Model, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galmorph.inference import reading

    read = reading.read_cutout

    def read_slowly(source: Source, **options: object) -> object:
        time.sleep(0.2 if source.object_id == "g0" else 0)
        return read(source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_cutout", read_slowly)
    rows, _ = join(run(model, make_sources(9), batch_size=1, workers=3))
    assert [row.object_id for row in rows] == [f"g{i}" for i in range(9)]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, 2), (64, 4)])
def test_result_does_not_depend_on_batches_and_workers(
    model: Model, make_sources: MakeSources, batch_size: int, workers: int
) -> None:
    _, usual = join(run(model, make_sources(10)))
    _, other = join(run(model, make_sources(10), batch_size=batch_size, workers=workers))
    np.testing.assert_allclose(other, usual, atol=1e-5)


def test_nothing_in_nothing_out(model: Model) -> None:
    assert run(model, []) == []


def test_a_block_of_bad_files_only(model: Model, tmp_path: Path) -> None:
    sources = [ImageFile(f"b{i}", str(tmp_path / f"{i}.jpg")) for i in range(5)]
    rows, embeddings = join(run(model, sources))
    assert len(rows) == 5 and np.isnan(embeddings).all()
    assert all("no such file" in row.message for row in rows)


def test_uint8_and_float_may_be_mixed_in_a_batch(model: Model) -> None:
    rgb = make_rgb(100, seed=1)
    both = [InMemory("a", rgb), InMemory("b", rgb.astype(np.float32) / np.float32(255))]
    _, embeddings = join(run(model, both))
    # uint8 pixels are rounded to uint8 by the resampling, those in float32 are not.
    np.testing.assert_allclose(embeddings[0], embeddings[1], atol=0.02)


def test_sources_are_consumed_a_bounded_number_ahead(
    model: Model, make_sources: MakeSources
) -> None:
    pulled = 0

    def count(sources: list[Source]) -> Iterator[Source]:
        nonlocal pulled
        for source in sources:
            pulled += 1
            yield source

    workers, batch_size = 2, 2
    bound = (BLOCKS_AHEAD * workers + 1 + BATCHES_TOGETHER) * batch_size
    blocks = run_inference(
        model, count(make_sources(60)), options=make_options(batch_size=batch_size)
    )
    assert pulled == 0
    done = 0
    for block in blocks:
        done += len(block.rows)
        assert pulled - done <= bound
    assert done == pulled == 60
    assert workers == make_options().workers


@pytest.fixture
def files(tmp_path: Path) -> list[Source]:
    """Forty images on disk; every seventh is missing."""
    for i in range(40):
        if i % 7:
            write_jpeg(tmp_path / f"g{i:02d}.jpg", side=100, seed=i)
    return [ImageFile(f"g{i:02d}", str(tmp_path / f"g{i:02d}.jpg")) for i in range(40)]


def test_quick_batches_go_together_and_change_nothing(
    model: Model, files: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BATCHES_ALONE", 2)
    found = {}
    for seconds in (-1.0, 1e9):
        monkeypatch.setattr(engine, "SECONDS_TOGETHER", seconds)
        blocks = run(model, files, workers=1)
        together = BATCHES_TOGETHER if seconds > 0 else 1
        lengths = [len(block.rows) for block in blocks]
        assert lengths == [4] * 2 + [4 * together] * (8 // together)
        rows, embeddings = join(blocks)
        assert [row.object_id for row in rows] == [source.object_id for source in files]
        assert [bool(row.message) for row in rows] == [i % 7 == 0 for i in range(40)]
        found[seconds] = embeddings
    np.testing.assert_array_equal(found[-1.0], found[1e9])  # to the bit


def test_memory_does_not_grow_with_the_number_of_images(model: Model) -> None:
    def peak(count: int) -> int:
        sources = (InMemory(str(i), make_rgb(100, seed=i % 7)) for i in range(count))
        gc.collect()
        tracemalloc.start()
        for block in run_inference(model, sources, options=make_options()):
            assert not isinstance(block.rows[0].source, InMemory)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(30)
    assert peak(240) < 1.3 * peak(60)


def test_closing_early_leaves_no_threads(model: Model, make_sources: MakeSources) -> None:
    blocks = run_inference(model, make_sources(40), options=make_options())
    next(blocks)
    assert engine_threads()
    blocks.close()
    assert engine_threads() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_source_ends_the_run_and_its_threads(
    model: Model, make_sources: MakeSources, error: type[BaseException]
) -> None:
    def break_off() -> Iterator[Source]:
        yield from make_sources(6)
        raise error("stop here")

    with pytest.raises(error, match="stop here"):
        run(model, break_off())
    assert engine_threads() == []


def test_compute_threads_are_as_before(model: Model, make_sources: MakeSources) -> None:
    torch.set_num_threads(2)
    inside = []
    for _ in run_inference(model, make_sources(20), options=make_options()):
        inside.append(torch.get_num_threads())
    assert torch.get_num_threads() == 2
    fresh: list[int] = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [2]
    assert set(inside) == {2}


def test_workers_compute_with_one_thread_each(
    model: Model, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galmorph.inference.ready import ReadyEncoder

    seen: list[int] = []
    normalize = ReadyEncoder.normalize

    def watch(self: ReadyEncoder, pixels: torch.Tensor) -> torch.Tensor:
        result = normalize(self, pixels)
        seen.append(torch.get_num_threads())
        return result

    monkeypatch.setattr(ReadyEncoder, "normalize", watch)
    torch.set_num_threads(2)
    run(model, make_sources(16))
    assert set(seen) == {1}


def test_two_threads_at_once_give_what_one_gives(model: Model, make_sources: MakeSources) -> None:
    sources = make_sources(24)
    _, alone = join(run(model, sources))
    results: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        results[number] = join(run(model, sources))[1]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        np.testing.assert_array_equal(results[number], alone)


def test_values_that_are_not_finite_are_flagged(make_sources: MakeSources) -> None:
    from inference_model import make_model

    broken = make_model(seed=1)
    broken.encoder.vit_branch.head.bias[0] = float("inf")
    rows, embeddings = join(run(broken, make_sources(3)))
    assert np.isnan(embeddings).all()
    assert all(row.flags & Flags.ENCODE_FAILED for row in rows)
    assert all(isinstance(row.error, PixelError) for row in rows)


def test_an_unexpected_exception_stays_in_its_row(
    model: Model, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galmorph.inference import reading

    read = reading.read_cutout

    def read_or_break(source: Source, **options: object) -> object:
        if source.object_id == "g2":
            raise AssertionError("a decoder's bug")
        return read(source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_cutout", read_or_break)
    rows, embeddings = join(run(model, make_sources(5)))
    assert [bool(row.message) for row in rows] == [False, False, True, False, False]
    assert rows[2].message == "AssertionError: a decoder's bug"
    assert np.isnan(embeddings[2]).all() and np.isfinite(embeddings[[0, 1, 3, 4]]).all()


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"device": "abacus"}, DeviceError, "no device 'abacus'; there are auto, cpu"),
        ({"precision": "float8"}, ValueError, "one of auto, float32, bfloat16, float16"),
    ],
)
def test_settings_are_checked_before_anything_is_read(
    model: Model, given: dict[str, str], error: type[Exception], match: str
) -> None:
    def refuse() -> Iterator[Source]:
        raise AssertionError("nothing may be read")
        yield

    with pytest.raises(error, match=match):
        run_inference(model, refuse(), options=make_options(**given))


@pytest.mark.parametrize("name", ["batch_size", "workers"])
def test_counts_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, not 0"):
        EngineOptions(**{name: 0})


def test_embed_raises_the_first_error_or_flags_it(model: Model, mixed_folder: Path) -> None:
    given = {"model": model, "device": "cpu", "workers": 1, "batch_size": 4}
    with pytest.raises(UnreadableImageError, match="galaxy_01"):
        galmorph.embed(mixed_folder, on_error="raise", **given)
    with pytest.warns(GalmorphWarning, match="6 of 15 cutouts"):
        embeddings = galmorph.embed(mixed_folder, **given)
    assert np.isnan(embeddings).any(axis=1).sum() == 6
    with pytest.raises(ValueError, match="on_error is one of flag, raise, not 'ignore'"):
        galmorph.embed(mixed_folder, on_error="ignore", **given)


def test_progress_is_called_with_the_count(model: Model, mixed_folder: Path) -> None:
    seen: list[int] = []
    with pytest.warns(GalmorphWarning):
        galmorph.embed(mixed_folder, model=model, batch_size=4, progress=seen.append)
    assert seen == [4, 8, 12, 15]


def test_embed_of_nothing_has_the_right_width(model: Model) -> None:
    assert galmorph.embed([], model=model).shape == (0, 512)


def test_stacks_are_closed_when_a_run_ends(model: Model, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["images"] = np.stack([make_rgb(100, seed=n) for n in range(6)])
    listed = list(discover_sources(f"{tmp_path}/s.h5::images"))
    assert len(join(run(model, listed))[0]) == 6
    with h5py.File(tmp_path / "s.h5", "a") as file:  # refused while it is open for reading
        file["more"] = [1]
    begun = run_inference(model, listed, options=make_options(workers=1, batch_size=1))
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    with h5py.File(tmp_path / "s.h5", "a") as file:
        del file["more"]
