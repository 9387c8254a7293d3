"""Size and place of synthetic galaxies whose size and place are known."""

from __future__ import annotations

import numpy as np
import pytest

from galmorph.preprocessing.size import GalaxySize, measure_sizes, to_grey

SKY, PEAK = 0.1, 0.7


def make_frame(
    side: int = 212,
    *,
    scale: float = 15.0,
    center: tuple[float, float] | None = None,
    index: float = 1.0,
    ratio: float = 1.0,
    noise: float = 0.01,
    seed: int = 0,
) -> np.ndarray:
    """Sersic profile exp(-(r / scale) ** (1 / index)) on grey sky, float32 (3, side, side)."""
    x0, y0 = center if center is not None else (side / 2, side / 2)
    y, x = np.mgrid[:side, :side] + 0.5
    r = np.hypot(x - x0, (y - y0) / ratio)
    galaxy = SKY + PEAK * np.exp(-((r / scale) ** (1 / index)))
    rng = np.random.default_rng(seed)
    return (galaxy + noise * rng.standard_normal((3, side, side))).clip(0, 1).astype(np.float32)


def make_blank(side: int, noise: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (SKY + noise * rng.standard_normal((3, side, side))).clip(0, 1).astype(np.float32)


def measure_all(*frames: np.ndarray) -> list[GalaxySize | None]:
    return measure_sizes((frame, to_grey(frame)) for frame in frames)


def measure(frame: np.ndarray) -> GalaxySize:
    (size,) = measure_all(frame)
    assert size is not None
    return size


def petrosian_radius(index: float, ratio: float = 0.3) -> float:
    """Radius in units of the scale where exp(-r**(1/n)) is ``ratio`` of its mean within."""
    r = np.linspace(1e-4, 12, 200_001)
    profile = np.exp(-(r ** (1 / index)))
    within = 2 * np.cumsum(profile * r) * (r[1] - r[0]) / r**2
    return float(r[np.argmax(profile / within < ratio)])


@pytest.mark.parametrize("index", [0.5, 1.0])  # Gaussian, exponential
@pytest.mark.parametrize("scale", [10.0, 18.0, 30.0])
def test_radius_is_the_petrosian_radius(index: float, scale: float) -> None:
    size = measure(make_frame(424, scale=scale, index=index))
    assert size.radius == pytest.approx(scale * petrosian_radius(index), rel=0.08)


@pytest.mark.parametrize("side", [90, 140, 212, 424, 700])
def test_radius_does_not_depend_on_the_frame(side: int) -> None:
    assert measure(make_frame(side, scale=10)).radius == pytest.approx(
        measure(make_frame(212, scale=10)).radius, rel=0.1
    )


def test_a_frame_that_cuts_the_galaxy_still_says_how_large_it_is() -> None:
    frame = make_frame(212, scale=15)
    whole = measure(frame)
    reach = round(0.9 * whole.radius)
    cut = frame[:, 106 - reach : 106 + reach, 106 - reach : 106 + reach]
    assert measure(cut).radius == pytest.approx(whole.radius, rel=0.3)
    assert measure(cut).radius < whole.radius


@pytest.mark.parametrize("center", [(106, 106), (112.5, 99.0), (100.25, 110.75)])
def test_center_is_found(center: tuple[float, float]) -> None:
    size = measure(make_frame(212, center=center))
    np.testing.assert_allclose((size.x, size.y), center, atol=1.0)


def test_a_small_galaxy_in_a_large_frame_is_measured_finely() -> None:
    size = measure(make_frame(848, scale=5, center=(430, 420)))
    assert size.radius == pytest.approx(5 * petrosian_radius(1.0), rel=0.15)
    np.testing.assert_allclose((size.x, size.y), (430, 420), atol=1.0)


def test_neighbours_are_left_out() -> None:
    alone = make_frame(212)
    neighbour = make_frame(212, center=(165, 130), scale=8, noise=0)
    together = np.maximum(alone, neighbour)
    assert measure(together).radius == pytest.approx(measure(alone).radius, rel=0.1)
    np.testing.assert_allclose((measure(together).x, measure(together).y), (106, 106), atol=1.5)


def test_uint8_in_any_memory_order_is_measured_like_float() -> None:
    frame = make_frame(424)
    planes = np.rint(frame * 255).astype(np.uint8)
    interleaved = np.ascontiguousarray(planes.transpose(1, 2, 0)).transpose(2, 0, 1)
    for other in (planes, interleaved):
        assert measure(other).radius == pytest.approx(measure(frame).radius, rel=0.01)
    assert measure(planes) == measure(interleaved)


def test_an_edge_on_galaxy_has_a_size() -> None:
    size = measure(make_frame(212, scale=20, ratio=0.15))
    assert 8 < size.radius < 70


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_blank_sky_has_no_size(noise: float) -> None:
    assert measure_all(make_blank(212, noise, 0)) == [None]


def test_noise_is_hardly_ever_taken_for_a_galaxy() -> None:
    blanks = (make_blank(90, 0.1, seed) for seed in range(100))
    found = [size is not None for size in measure_all(*blanks)]
    assert sum(found) <= 2


def test_a_source_away_from_the_middle_is_not_the_galaxy() -> None:
    assert measure_all(make_frame(212, center=(30, 180), scale=6)) == [None]


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 2, 5), (3, 5, 2), (3, 8, 400)])
def test_tiny_and_narrow_frames_do_not_fail(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (size,) = measure_all(array)
    assert size is None or size.radius > 0


def test_many_together_are_measured_as_one_at_a_time() -> None:
    """Of several shapes, some without a galaxy, some small in their frames."""
    frames = [make_frame(side, scale=scale) for side in (90, 256, 424) for scale in (2, 9, 25)]
    frames += [make_blank(256, 0.02, 0), make_frame(256, center=(30, 180), scale=6)]
    frames += [np.rint(frame * 255).astype(np.uint8) for frame in frames[:6]]
    together = measure_all(*frames, *frames[::-1])
    alone = [measure_all(frame)[0] for frame in frames]
    assert together == [*alone, *alone[::-1]]
    assert alone.count(None) == 2
