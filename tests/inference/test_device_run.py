"""Runs beside a device: stand-ins encode on the CPU under the name of a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from inference_model import make_model
from synthetic import write_jpeg

from galmorph.cli.main import cli
from galmorph.errors import DeviceError
from galmorph.flags import Flags
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.source import Source
from galmorph.inference import engine
from galmorph.inference.backends import open_backend
from galmorph.inference.engine import Block, explain_options, run_inference
from galmorph.model import Model, write_model
from galmorph.settings import EngineOptions
from galmorph.tables.journal import partial_path

MakeSources = Callable[[int], list[Source]]


class StandIn:
    """Counts its batches, and fails at one of them."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.fails_at: int | None = None

    def use_for(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = open_backend(model, device="cpu", precision="float32")

        def encode(pixels: Any) -> Any:
            self.lengths.append(len(pixels))
            if len(self.lengths) == self.fails_at:
                raise RuntimeError("CUDA error: an illegal memory access\nCompile with DSA")
            return usual.encode(pixels)

        backend = replace(usual, encode=encode, device="cuda:0")
        monkeypatch.setattr(engine, "open_backend", lambda *_, **__: backend)
        monkeypatch.setattr(engine, "DEVICE_THREADS", 1)


@pytest.fixture
def device(model: Model, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    found.use_for(model, monkeypatch)
    return found


def run(model: Model, sources: Any, batch_size: int = 4) -> tuple[list[Any], Any]:
    options = EngineOptions(device="cpu", batch_size=batch_size, workers=2, precision="float32")
    blocks = list(run_inference(model, sources, options=options))
    rows = [row for block in blocks for row in block.rows]
    return rows, np.concatenate([block.embeddings for block in blocks])


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("read_size", [1, 3, 64])
def test_rows_come_once_and_in_order(
    model: Model,
    make_sources: MakeSources,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
    read_size: int,
) -> None:
    sources = make_sources(22)
    _, expected = run(model, sources)
    device = StandIn()
    device.use_for(model, monkeypatch)
    monkeypatch.setattr(engine, "READ_SIZE", read_size)
    rows, found = run(model, sources, batch_size)
    assert [row.object_id for row in rows] == [f"g{i}" for i in range(22)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert device.lengths == [batch_size] * (22 // batch_size) + [22 % batch_size] * (
        22 % batch_size > 0
    )


def test_bad_files_keep_their_rows(model: Model, mixed_folder: Path, device: StandIn) -> None:
    rows, embeddings = run(model, discover_sources(mixed_folder))
    assert [row.object_id for row in rows] == [f"galaxy_{i:02d}" for i in range(15)]
    assert np.isfinite(embeddings).all(axis=1).tolist() == [i % 5 not in (1, 3) for i in range(15)]


def test_a_batch_of_bad_files_only(model: Model, tmp_path: Path, device: StandIn) -> None:
    _, embeddings = run(model, [ImageFile(f"b{i}", str(tmp_path / f"{i}.jpg")) for i in range(5)])
    assert np.isnan(embeddings).all() and device.lengths == []


def test_uint8_and_float_may_meet_in_a_batch(
    model: Model, make_sources: MakeSources, device: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "READ_SIZE", 1)
    sources = make_sources(4)
    floats = sources[1].data.astype(np.float32) / np.float32(255)
    sources[1] = replace(sources[1], data=floats)
    _, expected = run(model, sources, batch_size=1)
    np.testing.assert_allclose(run(model, sources)[1], expected, atol=1e-5)


def test_values_that_are_not_finite_are_flagged(
    make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = make_model(seed=1)
    broken.encoder.vit_branch.head.bias[0] = float("inf")
    StandIn().use_for(broken, monkeypatch)
    rows, embeddings = run(broken, make_sources(3))
    assert np.isnan(embeddings).all()
    assert all(row.flags & Flags.ENCODE_FAILED for row in rows)


def test_a_device_that_fails_is_named_after_the_rows_before_it(
    model: Model, make_sources: MakeSources, device: StandIn
) -> None:
    device.fails_at = 3
    seen: list[str] = []
    options = EngineOptions(device="cpu", batch_size=4, workers=2, precision="float32")
    with pytest.raises(DeviceError, match=r"^cuda:0 failed: CUDA error: an illegal \w+ access\."):
        for block in run_inference(model, make_sources(40), options=options):
            seen += [row.object_id for row in block.rows]
    assert seen == [f"g{i}" for i in range(8)]
    assert not [t for t in threading.enumerate() if t.name.startswith("galmorph")]


def test_a_failed_run_is_resumed_on_what_is_left(
    model: Model, tmp_path: Path, device: StandIn
) -> None:
    folder, weights, out = tmp_path / "in", tmp_path / "random.safetensors", tmp_path / "t.csv"
    folder.mkdir()
    for i in range(20):
        write_jpeg(folder / f"{i:02d}.jpg", side=100, seed=i)
    write_model(weights, model)

    def classify(*more: str) -> tuple[int, str]:
        words = ["classify", str(folder), "-o", str(out), "--model", str(weights)]
        words += ["--head", "test", "--batch-size", "2", "--precision", "float32", *more]
        result = CliRunner().invoke(cli, [*words, "--device", "cpu"], prog_name="galmorph")
        return result.exit_code, result.output

    device.fails_at = 3
    status, said = classify()
    assert status != 0 and "Error: cuda:0 failed: CUDA error" in said and "--resume" in said
    assert "Traceback" not in said
    assert not out.exists() and partial_path(out).exists()
    status, said = classify("--resume")
    assert status == 0 and "rows were there" in said
    names = [line.split(",")[0] for line in out.read_text().splitlines() if line[:1].isdigit()]
    assert names == [f"{i:02d}" for i in range(20)]


def test_sources_are_consumed_a_bounded_number_ahead(
    model: Model, make_sources: MakeSources, device: StandIn
) -> None:
    pulled = done = 0

    def count() -> Iterator[Source]:
        nonlocal pulled
        for source in make_sources(80):
            pulled += 1
            yield source

    bound = (2 + engine.BLOCKS_AHEAD * 2 * engine.READ_SIZE // 16 + engine.BATCHES_TOGETHER) * 16
    options = EngineOptions(device="cpu", batch_size=16, workers=2, precision="float32")
    for block in run_inference(model, count(), options=options):
        done += len(block.rows)
        assert pulled - done <= bound
    assert done == pulled == 80


def test_closing_early_leaves_no_threads(
    model: Model, make_sources: MakeSources, device: StandIn
) -> None:
    options = EngineOptions(device="cpu", batch_size=2, workers=2, precision="float32")
    blocks: Iterator[Block] = run_inference(model, make_sources(40), options=options)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("galmorph")]


def test_options_are_explained() -> None:
    said = " | ".join(explain_options(EngineOptions(device="cpu", workers=3)).values())
    assert "64 cutouts" in said and "3 threads, each of which reads and encodes" in said
