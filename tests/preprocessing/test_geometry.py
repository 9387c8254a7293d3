"""Field of view and resampling, against a plain re-implementation."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import resample

from galmorph.preprocessing.geometry import Box, central_box


def resample_naively(plane: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Triangle filter as wide as the reduction, one output pixel at a time, in float64."""

    def weights(start: float, n: int) -> np.ndarray:
        scale = box.side / size
        support = max(scale, 1.0)
        matrix = np.zeros((size, n))
        for i in range(size):
            centre = start + (i + 0.5) * scale
            for j in range(n):
                matrix[i, j] = max(0.0, 1 - abs((j + 0.5 - centre) / support))
        return matrix / matrix.sum(axis=1, keepdims=True)

    rows, columns = plane.shape
    return weights(box.y, rows) @ plane @ weights(box.x, columns).T


@pytest.mark.parametrize("side", [20.0, 33.3, 12.5])
def test_resample_is_the_triangle_filter(side: float) -> None:
    array = np.random.default_rng(1).random((3, 40, 41), dtype=np.float32)
    box = Box(2.25, 3.5, side)
    got, padded = resample(array, box, 16)
    # The filter stops at the box's whole pixels, so only the interior is compared.
    want = np.stack([resample_naively(plane, box, 16) for plane in array.astype(float)])
    assert not padded
    np.testing.assert_allclose(got[:, 2:-2, 2:-2], want[:, 2:-2, 2:-2], atol=1e-5)


def test_uint8_and_float_agree_to_rounding() -> None:
    array = np.random.default_rng(2).integers(0, 256, (3, 60, 60), dtype=np.uint8)
    box = central_box(60, 60, 37.5)
    as_uint8, _ = resample(array, box, 21)
    as_float, _ = resample(array.astype(np.float32), box, 21)
    assert as_uint8.dtype == np.uint8
    np.testing.assert_allclose(as_uint8, as_float, atol=1.01)


def test_identity_keeps_every_pixel() -> None:
    array = np.random.default_rng(3).integers(0, 256, (3, 24, 24), dtype=np.uint8)
    got, padded = resample(array, central_box(24, 24, 24), 24)
    np.testing.assert_array_equal(got, array)
    assert not padded


def test_beyond_the_frame_lies_the_rim() -> None:
    array = np.full((3, 20, 20), 7, dtype=np.uint8)
    array[:, 8:12, 8:12] = 200
    got, padded = resample(array, central_box(20, 20, 60), 60)
    assert padded
    assert (got[:, :18] == 7).all()
    assert got[0, 30, 30] == 200


def test_a_transposed_view_gives_the_same() -> None:
    interleaved = np.random.default_rng(4).integers(0, 256, (30, 31, 3), dtype=np.uint8)
    view = interleaved.transpose(2, 0, 1)
    box = Box(1.5, 2.0, 20.0)
    np.testing.assert_array_equal(
        resample(view, box, 10)[0], resample(np.ascontiguousarray(view), box, 10)[0]
    )


def test_a_box_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive side"):
        Box(0, 0, 0)


def test_a_box_beside_the_frame_shows_the_rim() -> None:
    array = np.full((3, 20, 20), 7, dtype=np.uint8)
    got, padded = resample(array, Box(100, 100, 10), 8)
    assert padded
    assert (got == 7).all()


def test_a_cut_galaxy_fades_into_the_sky() -> None:
    y, x = np.mgrid[:40, :40] - 19.5
    plane = 0.1 + np.exp(-np.hypot(x, y) / 15).astype(np.float32)
    got, _ = resample(np.stack([plane] * 3).astype(np.float32), central_box(40, 40, 80), 80)
    known = got[:, 20:60, 20:60]
    np.testing.assert_allclose(known, np.stack([plane] * 3), atol=1e-5)
    outward = got[0, 40, 59:]
    assert (np.diff(outward) <= 1e-6).all()
    assert np.abs(np.diff(got[0, 40, 55:65])).max() < 0.05
