"""The policy for bad pixels."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import make_flux, make_profile

from galmorph.errors import PixelError
from galmorph.flags import Flags
from galmorph.preprocessing.pixels import MAX_RINGS, fill_bad_pixels, find_bad_pixels


def test_good_pixels_are_given_back_untouched() -> None:
    flux = make_flux()
    filled = fill_bad_pixels(flux)
    assert filled.array is flux
    assert (filled.flags, filled.bad_pixels) == (Flags.NONE, 0)


def test_integers_are_never_bad() -> None:
    assert find_bad_pixels(np.zeros((3, 4, 4), dtype=np.uint8)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_bad(value: float) -> None:
    flux = make_flux()
    flux[1, 5, 6] = value
    bad = find_bad_pixels(flux)
    assert bad is not None
    assert np.argwhere(bad).tolist() == [[1, 5, 6]]


def test_single_hole_becomes_the_weighted_mean_of_its_neighbours() -> None:
    plane = np.arange(25, dtype=np.float32).reshape(1, 5, 5) ** 2
    holed = plane.copy()
    holed[0, 2, 2] = np.nan
    p = plane[0]
    adjacent = p[1, 2] + p[3, 2] + p[2, 1] + p[2, 3]
    diagonal = p[1, 1] + p[1, 3] + p[3, 1] + p[3, 3]
    filled = fill_bad_pixels(holed).array
    assert filled[0, 2, 2] == pytest.approx((adjacent + 0.5 * diagonal) / 6, rel=1e-6)
    holed[0, 2, 2] = plane[0, 2, 2]
    np.testing.assert_array_equal(np.delete(filled, 12), np.delete(plane, 12))


def test_interpolation_is_close_on_a_smooth_image() -> None:
    profile = make_profile(64)[None]
    holed = profile.copy()
    holed[0, 10:16, 20:26] = np.nan
    filled = fill_bad_pixels(holed).array
    assert np.abs(filled - profile).max() < 0.01
    assert np.isfinite(filled).all()


def test_hole_at_the_corner_and_a_large_one() -> None:
    profile = make_profile(128)[None]
    holed = profile.copy()
    side = 2 * MAX_RINGS + 20
    holed[0, :side, :side] = np.nan
    filled = fill_bad_pixels(holed, max_fraction=1.0).array
    assert np.isfinite(filled).all()
    assert filled[0, 0, 0] == np.median(profile[np.isfinite(holed)])


def test_one_missing_band_is_filled_in_the_colour_of_the_image() -> None:
    flux = make_flux(side=64, peak=2.0)
    holed = flux.copy()
    holed[0, 24:40, 24:40] = np.nan  # the centre of the galaxy in g
    filled = fill_bad_pixels(holed).array
    difference = np.abs(filled - flux)[0, 24:40, 24:40]
    assert difference.max() < 0.05 * flux[0].max()
    np.testing.assert_array_equal(filled[1:], flux[1:])


def test_zero_is_bad_only_where_it_means_unobserved() -> None:
    flux = make_flux()
    flux[0, :3] = 0
    assert fill_bad_pixels(flux).bad_pixels == 0
    filled = fill_bad_pixels(flux, zero_is_bad=True)
    assert filled.bad_pixels == 3 * 64
    assert (filled.array[0, :3] != 0).all()


def test_masked_pixels() -> None:
    flux = make_flux()
    mask = np.zeros((64, 64), dtype=bool)
    mask[7, 8] = True
    flux[:, 7, 8] = 1e6
    filled = fill_bad_pixels(flux, mask)
    assert filled.bad_pixels == 1
    assert filled.array.max() < 1
    rendered = np.full((3, 4, 4), 9, dtype=np.uint8)
    rendered[:, 1, 1] = 255
    corner = np.zeros((4, 4), dtype=bool)
    corner[1, 1] = True
    filled = fill_bad_pixels(rendered, corner)
    assert filled.array.dtype == np.uint8
    assert (filled.array == 9).all()


def test_zero_policy() -> None:
    flux = make_flux()
    flux[:, 3, 3] = np.nan
    filled = fill_bad_pixels(flux, policy="zero")
    assert (filled.array[:, 3, 3] == 0).all()
    assert filled.flags == Flags.BAD_PIXELS_FILLED


def test_refuse_policy() -> None:
    flux = make_flux()
    flux[:, 3, 3:5] = np.nan
    with pytest.raises(PixelError, match="2 of 4096 pixels are bad"):
        fill_bad_pixels(flux, policy="refuse")


def test_flag_above_the_stated_fraction() -> None:
    flux = make_flux(side=20)
    flux[:, 0, :] = np.nan  # exactly 5 %
    assert fill_bad_pixels(flux).flags == Flags.BAD_PIXELS_FILLED
    flux[:, 1, 0] = np.nan
    assert fill_bad_pixels(flux).flags == Flags.BAD_PIXELS_FILLED | Flags.MANY_BAD_PIXELS


@pytest.mark.parametrize("policy", ["interpolate", "zero", "refuse"])
def test_band_without_a_good_pixel(policy: str) -> None:
    flux = make_flux()
    flux[2] = np.nan
    with pytest.raises(PixelError, match="no good pixel"):
        fill_bad_pixels(flux, policy=policy)  # type: ignore[arg-type]
    flux[:] = 0
    with pytest.raises(PixelError, match=r"no good pixel in any band \(0 means that nothing was"):
        fill_bad_pixels(flux, policy=policy, zero_is_bad=True)  # type: ignore[arg-type]
