"""Several devices at once, with stand-ins: order, completeness, memory, devices that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from inference_model import make_model
from synthetic import write_jpeg

from galmorph.cli.main import cli
from galmorph.errors import DeviceError
from galmorph.flags import Flags
from galmorph.images.discover import discover_sources
from galmorph.images.source import Source
from galmorph.inference import backends, engine, lanes
from galmorph.inference.backends import Backend, open_backend
from galmorph.inference.compiled import ReadyEncoder
from galmorph.inference.engine import Block, EngineOptions, explain_options, run_inference
from galmorph.model import Model, write_model
from galmorph.tables.journal import partial_path

MakeSources = Callable[[int], list[Source]]
UseLanes = Callable[..., list[ReadyEncoder]]


class StandIn(ReadyEncoder):
    """A device that computes on the CPU, notes the sizes of its batches, and may fail."""

    def __init__(self, model: Model, name: str, *, memory: int = 10**6) -> None:
        super().__init__(model.encoder, model.preprocessing, torch.device("cpu"), "float32")
        self.name, self.memory = name, memory
        self.tried: list[int] = []
        self.done: list[int] = []
        self.fails_at: int | None = None
        self.seconds = 0.0

    def compute(self, pixels: torch.Tensor) -> torch.Tensor:
        self.tried.append(len(pixels))
        if self.fails_at is not None and len(self.done) == self.fails_at:
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore words")
        if len(pixels) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        time.sleep(self.seconds)
        result = super().compute(pixels)
        self.done.append(len(pixels))
        return result


@pytest.fixture
def use_lanes(monkeypatch: pytest.MonkeyPatch) -> UseLanes:
    """Let every run use stand-ins, whatever device it asks for."""

    def use(model: Model, *memories: int) -> list[StandIn]:
        made = [StandIn(model, f"cuda:{i}", memory=m) for i, m in enumerate(memories)]

        def open_with_lanes(asked: Model, **options: str | None) -> Backend:
            return replace(open_backend(model, device="cpu", precision="float32"), lanes=(*made,))

        monkeypatch.setattr(engine, "open_backend", open_with_lanes)
        return made

    return use  # type: ignore[return-value]


def run(model: Model, sources: Iterable[Source], batch_size: int = 4) -> list[Block]:
    options = EngineOptions("cpu", batch_size, 2, "float32")
    return list(run_inference(model, sources, options=options))


def join(blocks: list[Block]) -> tuple[list[str], np.ndarray]:
    ids = [row.object_id for block in blocks for row in block.rows]
    return ids, np.concatenate([block.embeddings for block in blocks])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_rows_come_once_and_in_order(
    model: Model, make_sources: MakeSources, use_lanes: UseLanes, count: int, batch_size: int
) -> None:
    sources = make_sources(22)
    ids, expected = join(run(model, sources))
    made = use_lanes(model, *[10**6] * count)
    found_ids, found = join(run(model, sources, batch_size))
    assert found_ids == ids == [f"g{i}" for i in range(22)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sum(sum(lane.done) for lane in made) == 22


def test_every_device_takes_part_and_a_slow_one_takes_less(
    model: Model, make_sources: MakeSources, use_lanes: UseLanes
) -> None:
    slow, fast = use_lanes(model, 10**6, 10**6)
    slow.seconds = 0.3
    ids, _ = join(run(model, make_sources(40), batch_size=2))
    assert ids == [f"g{i}" for i in range(40)]
    assert 0 < sum(slow.done) < sum(fast.done)


def test_memory_that_runs_out_halves_only_the_batches_of_that_device(
    model: Model, make_sources: MakeSources, use_lanes: UseLanes
) -> None:
    sources = make_sources(40)
    _, expected = join(run(model, sources))
    small, large = use_lanes(model, 3, 10**6)
    small.seconds = large.seconds = 0.05
    _, found = join(run(model, sources, batch_size=8))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert set(large.tried) == {8}
    assert small.tried[:3] == [8, 4, 2] and set(small.tried[2:]) == {2}
    assert small.limit == 2 and large.limit is None


def test_bad_files_keep_their_rows(model: Model, mixed_folder: Path, use_lanes: UseLanes) -> None:
    use_lanes(model, 10**6, 10**6)
    blocks = run(model, discover_sources(mixed_folder))
    rows = [row for block in blocks for row in block.rows]
    assert [row.object_id for row in rows] == [f"galaxy_{i:02d}" for i in range(15)]
    _, embeddings = join(blocks)
    assert np.isfinite(embeddings).all(axis=1).tolist() == [i % 5 not in (1, 3) for i in range(15)]


def test_a_batch_of_bad_files_only(model: Model, tmp_path: Path, use_lanes: UseLanes) -> None:
    (lane,) = use_lanes(model, 10**6)
    blocks = run(model, [Source(f"b{i}", str(tmp_path / f"{i}.jpg")) for i in range(5)])
    assert np.isnan(join(blocks)[1]).all() and lane.tried == []


def test_uint8_and_float_may_meet_in_a_batch(
    model: Model, make_sources: MakeSources, use_lanes: UseLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "READ_SIZE", 1)
    sources = make_sources(4)
    data = sources[1].data
    sources[1] = replace(sources[1], data=data.astype(np.float32) / np.float32(255))
    _, expected = join(run(model, sources, batch_size=1))
    use_lanes(model, 10**6)
    np.testing.assert_allclose(join(run(model, sources))[1], expected, atol=1e-5)


def test_values_that_are_not_finite_are_flagged(
    make_sources: MakeSources, use_lanes: UseLanes
) -> None:
    broken = make_model(seed=1)
    broken.encoder.vit_branch.head.bias[0] = float("inf")
    use_lanes(broken, 10**6)
    blocks = run(broken, make_sources(3))
    assert np.isnan(join(blocks)[1]).all()
    assert all(row.flags & Flags.ENCODE_FAILED for block in blocks for row in block.rows)


def test_a_device_that_fails_is_named_after_the_rows_before_it(
    model: Model, make_sources: MakeSources, use_lanes: UseLanes
) -> None:
    (lane,) = use_lanes(model, 10**6)
    lane.fails_at = 3
    seen: list[str] = []
    options = EngineOptions("cpu", 4, 2, "float32")
    with pytest.raises(
        DeviceError, match=r"^cuda:0 failed: CUDA error: an illegal .*encountered\."
    ):
        for block in run_inference(model, make_sources(40), options=options):
            seen += [row.object_id for row in block.rows]
    assert seen == [f"g{i}" for i in range(12)]
    assert not [t for t in threading.enumerate() if t.name.startswith("galmorph")]


def test_a_single_cutout_that_does_not_fit_stops_the_run(
    model: Model, make_sources: MakeSources, use_lanes: UseLanes
) -> None:
    use_lanes(model, 0)
    with pytest.raises(DeviceError, match="cuda:0 failed: CUDA out of memory"):
        run(model, make_sources(3))


def test_a_failed_run_is_resumed_on_what_is_left(
    model: Model, tmp_path: Path, use_lanes: UseLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, weights = tmp_path / "cutouts", tmp_path / "random.safetensors"
    folder.mkdir()
    for i in range(20):
        write_jpeg(folder / f"{i:02d}.jpg", side=100, seed=i)
    write_model(weights, model)
    out, whole = tmp_path / "t.csv", tmp_path / "whole.csv"

    def classify(file: Path, *more: str) -> tuple[int, str]:
        words = ["classify", str(folder), "-o", str(file), "--model", str(weights)]
        words += ["--head", "test", "--batch-size", "2", "--precision", "float32", *more]
        result = CliRunner().invoke(cli, [*words, "--device", "cpu"], prog_name="galmorph")
        return result.exit_code, result.output

    assert classify(whole)[0] == 0
    first, second = use_lanes(model, 10**6, 10**6)
    first.seconds, second.fails_at = 0.05, 2
    status, said = classify(out)
    assert status != 0 and "Error: cuda:1 failed: CUDA error" in said and "--resume" in said
    assert "Traceback" not in said
    assert not out.exists() and partial_path(out).exists()
    second.fails_at = None
    status, said = classify(out, "--resume")
    assert status == 0 and "rows were there" in said
    # Sums in float32 depend on the length of the batch in their last digits.
    names = [line.split(",")[:5] for line in out.read_text().splitlines()]
    assert names == [line.split(",")[:5] for line in whole.read_text().splitlines()]


def test_doctor_times_every_device_and_says_what_became_of_it(
    model: Model, tmp_path: Path, use_lanes: UseLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "random.safetensors"
    write_model(weights, model)
    made = use_lanes(model, 10**6, 2)
    monkeypatch.setattr(backends, "open_backend", engine.open_backend)
    monkeypatch.setattr(engine, "GPU_BATCH_SIZE", 4)
    monkeypatch.setattr(made[0], "seconds", 0.1)
    words = ["doctor", "--model", str(weights), "--device", "cpu"]
    monkeypatch.setattr("galmorph.cli.doctor.FRAME_SIZE", 100)
    said = CliRunner().invoke(cli, words, prog_name="galmorph").stdout
    assert "images/s (32 JPEG images" in said
    assert "threads, each of which reads and encodes" in said
    assert "cuda:0           memory was enough for every batch" in said
    assert "cuda:1           batches of 2, because its memory is too small for more" in said


@pytest.mark.parametrize(
    ("name", "gpus", "words"),
    [
        ("cpu", 0, ["32 cutouts", "3 threads, each of which reads and encodes", "no GPU"]),
        ("cuda:all", 2, ["cuda:0,cuda:1, bfloat16", "512 cutouts", "pinned", "second full batch"]),
    ],
)
def test_options_are_explained(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, words: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    said = " | ".join(explain_options(EngineOptions(name, workers=3)).values())
    assert all(word in said for word in words), said


def test_sources_are_consumed_a_bounded_number_ahead(
    model: Model, make_sources: MakeSources, use_lanes: UseLanes
) -> None:
    use_lanes(model, 10**6, 10**6)
    pulled = 0

    def count() -> Iterator[Source]:
        nonlocal pulled
        for source in make_sources(80):
            pulled += 1
            yield source

    bound = (2 + lanes.BLOCKS_AHEAD * 2 + 2) * 2
    done = 0
    options = EngineOptions("cpu", 2, 2, "float32")
    for block in run_inference(model, count(), options=options):
        done += len(block.rows)
        assert pulled - done <= bound
    assert done == pulled == 80


def test_closing_early_leaves_no_threads(
    model: Model, make_sources: MakeSources, use_lanes: UseLanes
) -> None:
    use_lanes(model, 10**6, 10**6)
    options = EngineOptions("cpu", 2, 2, "float32")
    blocks = run_inference(model, make_sources(40), options=options)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("galmorph")]
