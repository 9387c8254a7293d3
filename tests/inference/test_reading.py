"""Cutouts that are brought to size together: none is held back for another, or lost by it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import make_rgb, write_jpeg

from galmorph.flags import Flags
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.source import Source
from galmorph.inference import reading
from galmorph.inference.reading import ReadBlock, Reader
from galmorph.preprocessing.pipeline import Placed, Prepared, Preprocessing
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(Preprocessing(crop=0.5), ReadOptions(), FieldOptions(), RenderOptions())


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Images of two sizes, of floats, one that is even, one saturated, one that is missing."""
    even, bright = np.full((200, 200, 3), 7, np.uint8), np.full((180, 180, 3), 255, np.uint8)
    bright[80:85, 80:85] = 0
    listed = [make_rgb(200, seed=1), even, make_rgb(240, seed=2), bright]
    listed += [make_rgb(200, seed=3).astype(np.float32) / np.float32(255), make_rgb(60, seed=4)]
    found = [InMemory(f"m{k}", image) for k, image in enumerate(listed)]
    write_jpeg(tmp_path / "a.jpg", side=200)
    return [*found, ImageFile("none", "/nowhere/none.jpg"), ImageFile("a", str(tmp_path / "a.jpg"))]


def check_same(found: ReadBlock, expected: ReadBlock) -> None:
    assert found.good == expected.good
    assert found.pixels is not None and expected.pixels is not None
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    for one, other in zip(found.rows, expected.rows, strict=True):
        for name in ("object_id", "flags", "message", "notes", "fov", "crop"):
            np.testing.assert_equal(getattr(one, name), getattr(other, name))


def test_together_is_as_one_at_a_time(
    reader: Reader, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = reader.read_block(sources)
    assert together.good == [0, 2, 3, 4, 5, 7]
    flags = [row.flags for row in together.rows]
    assert flags[1] == Flags.CONSTANT and flags[3] == Flags.SATURATED
    assert flags[5] == Flags.UPSAMPLED and flags[6] == Flags.READ_FAILED
    monkeypatch.setattr(reading, "HELD_BYTES", 0)
    check_same(reader.read_block(sources), together)


def test_images_that_wait_are_bounded_in_bytes(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole images count, of which only a part is seen; not those that the caller holds anyway."""
    image = make_rgb(200)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    monkeypatch.setattr(reading, "HELD_BYTES", 3 * 200 * 200 * 3)
    lengths = []
    finish = Preprocessing.finish

    def count(self: Preprocessing, placed: Sequence[Placed]) -> list[Prepared]:
        lengths.append(len(placed))
        return finish(self, placed)

    monkeypatch.setattr(Preprocessing, "finish", count)
    reader.read_block([InMemory(f"g{k}", file.getvalue()) for k in range(10)])
    assert lengths == [4, 4, 2]
    stack = np.stack([image] * 10).transpose(0, 3, 1, 2).copy()
    reader.read_block([InMemory(f"g{k}", item) for k, item in enumerate(stack)])
    assert lengths == [4, 4, 2, 10]


def test_one_that_fails_does_not_take_the_others_along(
    reader: Reader, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Preprocessing.finish

    def fail(self: Preprocessing, placed: Sequence[Placed]) -> list[Prepared]:
        if any(part.cutout.array.shape[1] > 110 for part in placed):
            raise MemoryError("too large")
        return finish(self, placed)

    expected = reader.read_block(sources)
    monkeypatch.setattr(Preprocessing, "finish", fail)
    found = reader.read_block(sources)
    assert found.good == [0, 3, 4, 5, 7]
    assert found.rows[2].flags == Flags.READ_FAILED
    assert found.rows[2].message == "MemoryError: too large"
    assert found.rows[0].notes == expected.rows[0].notes
    assert found.pixels is not None and expected.pixels is not None
    np.testing.assert_array_equal(found.pixels, np.delete(expected.pixels, 1, axis=0))


def test_a_row_whose_pixels_fail_keeps_what_was_noted_of_it(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "J100000.00+020000.0.jpg", side=200)
    fov = FieldOptions(fov=20.0)  # which needs a pixel scale
    reader = Reader(Preprocessing(crop=0.5), ReadOptions(), fov, RenderOptions())
    (row,) = reader.read_block([ImageFile("J100000.00+020000.0", str(path))]).rows
    assert row.flags == Flags.READ_FAILED and "needs a pixel scale" in row.message
    assert (row.ra, row.dec) == (150.0, 2.0)
    assert row.notes == {"position": "from the file name"}


def test_notes_stay_where_the_last_step_fails(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Preprocessing, "finish", fail)
    flux = InMemory("a", make_rgb(200)[:, :, 0])
    (row,) = reader.read_block([flux]).rows
    assert row.flags & Flags.READ_FAILED and row.notes == {"mode": "grey"}
