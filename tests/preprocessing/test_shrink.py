"""Whole pixels to another size, by torch and by Pillow."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import resample

from galmorph.preprocessing import geometry as module
from galmorph.preprocessing.geometry import central_box, interleave, separate, shrink_all


def make_pixels(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def shrink_by_pillow(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(pixels).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


SIZES = [((180, 180), (84, 84)), ((90, 90), (84, 84)), ((84, 84), (84, 84)), ((31, 50), (84, 84))]


@pytest.mark.parametrize(("size", "shape"), [*SIZES, ((300, 211), (40, 37)), ((1, 7), (5, 5))])
def test_torch_gives_what_pillow_gives(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert sys.modules["torch"] is torch
    pixels = make_pixels(*size)
    expected = shrink_by_pillow(pixels, shape).astype(int)
    got = shrink_all([pixels.transpose(2, 0, 1)], shape)[0]
    assert got.shape == (3, *shape)
    assert got.flags.c_contiguous
    assert np.abs(got - expected).max() <= 1  # a rounding, on processors without vectors
    assert (got != expected).mean() < 0.03


def test_without_torch_pillow_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = make_pixels(60, 50)
    monkeypatch.delitem(sys.modules, "torch")
    got = shrink_all([pixels.transpose(2, 0, 1)], (20, 21))[0]
    np.testing.assert_array_equal(got, shrink_by_pillow(pixels, (20, 21)))


def test_memory_of_three_bytes_is_taken_by_rows() -> None:
    pixels = make_pixels(60, 50)
    block = module._find_pixels(pixels.transpose(2, 0, 1)[:, 3:, 7:40])
    assert np.shares_memory(block, pixels)
    np.testing.assert_array_equal(block, pixels[3:, 7:40])


def test_other_memory_is_copied() -> None:
    rgba = make_pixels(6, 5, 4)
    planes = rgba.transpose(2, 0, 1)
    for other in (planes[1:], planes[:3, ::2], planes[:3, :, ::-1], planes[[0, 1, 2]]):
        found = module._find_pixels(other)
        assert not np.shares_memory(found, rgba)
        np.testing.assert_array_equal(found, other.transpose(1, 2, 0))


def test_many_of_many_sizes_are_those_of_one_at_a_time() -> None:
    """Grouped by size and memory, each lands in its place; some are enlarged."""
    sizes = [(90, 90, 3), (60, 50, 4), (90, 90, 4), (30, 50, 3), (90, 90, 3), (60, 50, 4)]
    arrays = [make_pixels(*size).transpose(2, 0, 1)[:3] for size in sizes]
    arrays += [np.ascontiguousarray(arrays[0])[:, ::-1]]
    together = shrink_all(arrays, (40, 40))
    assert len(together) == len(arrays)
    for found, array in zip(together, arrays, strict=True):
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, shrink_all([array], (40, 40))[0])
    assert shrink_all([], (40, 40)) == []


def test_odd_edges_agree_with_whole_ones() -> None:
    """A box of fractional edges takes Pillow's way; a hair beside whole ones it must agree, but
    for the outermost pixels, to whose filter it opens one more pixel of the image."""
    array = make_pixels(100, 100).transpose(2, 0, 1)
    whole, _ = resample(array, central_box(100, 100, 60), 24)
    odd, _ = resample(array, central_box(100, 100, 60 + 1e-5), 24)
    assert np.abs(whole.astype(int) - odd)[:, 1:-1, 1:-1].max() <= 1


def test_interleaving_and_back() -> None:
    planes = make_pixels(4, 5).transpose(2, 0, 1)
    assert interleave(planes).flags.c_contiguous
    np.testing.assert_array_equal(interleave(planes), planes.transpose(1, 2, 0))
    np.testing.assert_array_equal(separate(interleave(planes)), planes)
