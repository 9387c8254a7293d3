"""The named stretches against plain re-implementations of their published formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.visualization import (
    AsinhStretch,
    AsymmetricPercentileInterval,
    PercentileInterval,
    ZScaleInterval,
)
from synthetic import make_flux

from galmorph.errors import BandError
from galmorph.flags import Flags
from galmorph.images.cutout import Cutout
from galmorph.images.read import read_cutout
from galmorph.preprocessing.general_stretches import (
    find_percentiles,
    find_zscale,
    make_lupton,
    measure_sky,
)
from galmorph.preprocessing.render import render
from galmorph.preprocessing.stretch import choose_stretch, get_stretch
from galmorph.settings import STRETCHES, RenderOptions

Planes = dict[str, Any]


def make_planes(bands: tuple[str, ...], side: int = 24) -> Planes:
    return dict(zip(bands, make_flux(bands, side=side, peak=2.0), strict=True))


def naive_gzdecals(g: float, r: float, z: float) -> list[float]:
    """One pixel, step by step as STRETCHES.md states it."""
    low, high = math.asinh(-0.5), math.asinh(300)
    channels = [(math.asinh(x) - low) / (high - low) for x in (z / 0.019, r / 0.014, g / 0.008)]
    a = sum(channels) / 3
    a = a if a != 0 else 1.0
    w = min(1.0, max(c / a for c in channels) / 2.5)
    v = math.sin(math.pi / 2 * (1 - w))
    mixed = [c * v + a * (1 - v) + a * (1 - v) ** 2 * c for c in channels]
    return [min(1.0, max(0.0, c)) for c in mixed]


def naive_legacysurvey(fluxes: list[float], scales: list[float]) -> list[float]:
    """Brightened bands of one pixel, in the order given."""
    scaled = [f * s + 0.03 for f, s in zip(fluxes, scales, strict=True)]
    i = sum(max(0.0, x) for x in scaled) / len(scaled)
    i = i if i != 0 else 1e-6
    factor = math.asinh(20 * i) / (math.sqrt(20) * i)
    return [min(1.0, max(0.0, x * factor)) for x in scaled]


def naive_sdss(g: float, r: float, i: float) -> list[float]:
    channels = [max(0.0, x) for x in (0.4 * 5 * i, 0.4 * 6.5 * r, 0.4 * 9 * g)]
    total = sum(channels) * 2.25
    if total == 0:
        return [0.0, 0.0, 0.0]
    channels = [c * math.asinh(total) / total for c in channels]
    brightest = max(1.0, *channels)
    return [c / brightest for c in channels]


def check_pixels(name: str, bands: tuple[str, ...], naive: Any) -> None:
    planes = make_planes(bands)
    colours = get_stretch(name).render(planes)
    assert colours.dtype == np.float32
    flat = [planes[band].ravel() for band in bands]
    expected = [naive(*(float(plane[n]) for plane in flat)) for n in range(flat[0].size)]
    np.testing.assert_allclose(colours.reshape(3, -1).T, expected, atol=2e-5)


def test_gzdecals_is_the_formula() -> None:
    check_pixels("gzdecals", ("g", "r", "z"), naive_gzdecals)


def test_legacysurvey_grz_is_the_formula() -> None:
    def naive(g: float, r: float, z: float) -> list[float]:
        return naive_legacysurvey([g, r, z], [6.0, 3.4, 2.2])[::-1]

    check_pixels("legacysurvey", ("g", "r", "z"), naive)


def test_legacysurvey_gri_is_the_formula() -> None:
    def naive(g: float, r: float, i: float) -> list[float]:
        return naive_legacysurvey([g, r, i], [9.0, 5.1, 4.5])[::-1]

    check_pixels("legacysurvey", ("g", "r", "i"), naive)


def test_legacysurvey_griz_is_the_formula() -> None:
    def naive(*fluxes: float) -> list[float]:
        g, r, i, z = naive_legacysurvey(list(fluxes), [9.0, 5.1, 4.5, 3.3])
        return [0.25 * i + 0.75 * z, 0.5 * r + 0.5 * i, 0.75 * g + 0.25 * r]

    check_pixels("legacysurvey", ("g", "r", "i", "z"), naive)


def test_sdss_is_the_formula() -> None:
    check_pixels("sdss", ("g", "r", "i"), naive_sdss)


def test_sdss_saturates_to_the_colour_of_the_object() -> None:
    bright = {"g": np.full((1, 1), 50.0), "r": np.full((1, 1), 100.0), "i": np.full((1, 1), 200.0)}
    red, green, blue = get_stretch("sdss").render(bright).ravel()
    assert red == pytest.approx(1.0)
    assert green / red == pytest.approx(100 * 2.6 / (200 * 2.0), rel=1e-5)
    assert blue / red == pytest.approx(50 * 3.6 / (200 * 2.0), rel=1e-5)


def test_lupton_curve_is_astropys() -> None:
    lupton = pytest.importorskip("astropy.visualization").make_lupton_rgb
    red, green, blue = (plane for plane in make_flux(side=32, peak=5.0))
    expected = lupton(red, green, blue, stretch=0.4, Q=8, output_dtype=np.float64)
    ours = make_lupton(np.stack([red, green, blue]), 0.4, 8.0)
    np.testing.assert_allclose(ours, np.moveaxis(expected, 2, 0), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "astropys"),
    [
        ("asinh", AsinhStretch(0.1) + AsymmetricPercentileInterval(1.0, 99.8)),
        ("zscale", ZScaleInterval()),
        ("percentile", PercentileInterval(99.5)),
    ],
)
def test_general_stretches_are_astropys(name: str, astropys: Any) -> None:
    planes = make_planes(("g", "r", "z"), side=64)
    colours = get_stretch(name).render(planes)
    for channel, band in zip(colours, ("z", "r", "g"), strict=True):
        expected = np.clip(np.asarray(astropys(planes[band].astype(np.float64))), 0, 1)
        np.testing.assert_allclose(channel, expected, atol=1e-4)


def test_lupton_does_not_depend_on_the_units_of_any_band() -> None:
    planes = make_planes(("g", "r", "z"), side=64)
    scaled = {"g": planes["g"] * 1e4 + 700, "r": planes["r"] * 1e-5, "z": planes["z"] - 3}
    stretch = get_stretch("lupton")
    np.testing.assert_allclose(stretch.render(scaled), stretch.render(planes), atol=2e-3)


@pytest.mark.parametrize("name", ["lupton", "asinh", "zscale", "percentile"])
def test_two_bands_do_not_depend_on_their_units(name: str) -> None:
    planes = make_planes(("g", "r"))
    colours = get_stretch(name).render(planes)
    scaled = get_stretch(name).render({"g": planes["g"] * np.float32(1024), "r": planes["r"]})
    np.testing.assert_allclose(scaled, colours, atol=2e-5)
    np.testing.assert_allclose(colours[1], (colours[0] + colours[2]) / 2, atol=1e-6)


def test_lupton_puts_the_sky_near_black_and_shows_faint_light() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(100, 5, (200, 200)).astype(np.float32)
    plane[90:110, 90:110] += 50  # ten sigmas
    red = get_stretch("lupton").render({"r": plane})[0]
    assert 0.03 < np.median(red) < 0.09
    assert 0.25 < np.median(red[90:110, 90:110]) < 0.45


def test_sky_under_a_galaxy_that_covers_half_of_the_frame() -> None:
    plane = np.random.default_rng(0).normal(10, 2, (200, 200)).astype(np.float32)
    assert measure_sky(plane) == pytest.approx((10, 2), rel=0.05)
    plane[:, :100] += 300
    sky, noise = measure_sky(plane)
    assert abs(sky - 10) < 2
    assert 1.5 < noise < 3.5
    assert measure_sky(np.zeros((8, 8), np.float32)) == (0.0, 1.0)


@pytest.mark.parametrize("name", STRETCHES)
def test_result_is_within_the_unit_interval(name: str) -> None:
    bands = ("g", "r", "i") if name == "sdss" else ("g", "r", "z")
    planes = {band: plane * 1e6 - 10 for band, plane in make_planes(bands).items()}
    colours = get_stretch(name).render(planes)
    assert colours.shape == (3, 24, 24)
    assert np.isfinite(colours).all()
    assert colours.min() >= 0 and colours.max() <= 1


@pytest.mark.parametrize("name", STRETCHES)
def test_blank_image_gives_no_nan(name: str) -> None:
    bands = ("g", "r", "i") if name == "sdss" else ("g", "r", "z")
    colours = get_stretch(name).render({band: np.zeros((8, 8), np.float32) for band in bands})
    assert np.isfinite(colours).all()
    assert np.ptp(colours) < 1e-6


@pytest.mark.parametrize("name", STRETCHES)
def test_input_is_not_changed(name: str) -> None:
    bands = ("g", "r", "i") if name == "sdss" else ("g", "r", "z")
    planes = make_planes(bands)
    before = {band: plane.copy() for band, plane in planes.items()}
    get_stretch(name).render(planes)
    for band in bands:
        np.testing.assert_array_equal(planes[band], before[band])


def test_survey_stretches_do_not_depend_on_the_crop() -> None:
    planes = make_planes(("g", "r", "z"), side=64)
    cropped = {band: plane[16:48, 16:48] for band, plane in planes.items()}
    for name in ("gzdecals", "legacysurvey"):
        whole = get_stretch(name).render(planes)
        np.testing.assert_array_equal(whole[:, 16:48, 16:48], get_stretch(name).render(cropped))


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="stretch is one of auto, legacysurvey.* not 'log'"):
        RenderOptions(stretch="log")


def test_wrong_bands_name_the_way_out() -> None:
    with pytest.raises(BandError, match=r"'gzdecals' is for g\+r\+z, not g, r, i; choose one of"):
        get_stretch("gzdecals").choose_bands(("g", "r", "i"))


def test_more_than_three_bands() -> None:
    assert get_stretch("asinh").choose_bands(("u", "g", "r", "i", "z")) == ("u", "r", "z")
    assert get_stretch("sdss").choose_bands(("u", "g", "r", "i", "z")) == ("g", "r", "i")
    assert get_stretch("legacysurvey").choose_bands(("z", "i", "r", "g")) == ("g", "r", "i", "z")


@pytest.mark.parametrize(
    ("bands", "ordered"),
    [("RGZ", "GRZ"), ("IRG", "GRI"), ("RGB", "BGR"), (("r2", "i2", "g"), ("g", "r2", "i2"))],
)
def test_capital_letters_are_in_order(bands: Sequence[str], ordered: Sequence[str]) -> None:
    assert get_stretch("lupton").choose_bands(tuple(bands)) == tuple(ordered)


def test_unknown_bands_need_an_order() -> None:
    strange = ("one", "g", "two", "three")
    for name in ("lupton", "asinh", "zscale", "percentile"):
        with pytest.raises(BandError, match="wavelength of one, two, three is not known"):
            get_stretch(name).choose_bands(strange)
        assert get_stretch(name).choose_bands(strange, in_order=True) == ("one", "two", "three")
        assert get_stretch(name).choose_bands(("one",)) == ("one",)
    with pytest.raises(BandError, match="'sdss' is for"):
        get_stretch("sdss").choose_bands(("one", "g"), in_order=True)
    assert get_stretch("sdss").choose_bands(("one", "i", "g", "r")) == ("g", "r", "i")


def make_cutout(bands: tuple[str, ...], **values: Any) -> Cutout:
    return Cutout(make_flux(bands), bands, "flux", **values)


@pytest.mark.parametrize(
    ("cutout", "expected"),
    [
        (make_cutout(("g", "r", "z"), survey="legacysurvey"), ("legacysurvey", False)),
        (make_cutout(("g", "r", "i"), survey="sdss", unit="nanomaggy"), ("sdss", False)),
        (make_cutout(("r",), survey="sdss", unit="nanomaggy"), ("sdss", False)),
        (make_cutout(("g", "r", "i"), survey="sdss", unit="adu"), ("lupton", True)),
        (make_cutout(("g", "r", "z"), survey=""), ("lupton", True)),
        (make_cutout(("g", "r", "z"), survey="hsc"), ("lupton", True)),
        (make_cutout(("J", "H", "K"), survey="sdss"), ("lupton", True)),
    ],
)
def test_survey_rule(cutout: Cutout, expected: tuple[str, bool]) -> None:
    assert choose_stretch(cutout) == expected
    flagged = bool(render(cutout).flags & Flags.ASSUMED_STRETCH)
    assert flagged == expected[1]


def test_zero_point_makes_any_unit_fit() -> None:
    cutout = make_cutout(("g", "r", "i"), survey="sdss", unit="adu")
    assert choose_stretch(cutout, calibrated=True) == ("sdss", False)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["example_a", "example_b"])
def test_gzdecals_is_how_galaxy_zoo_rendered(realdata: Path, name: str) -> None:
    theirs = read_cutout(realdata / "fits" / f"{name}.jpeg").array.astype(float)
    flux = read_cutout(realdata / "fits" / f"{name}.fits")
    ours = render(flux, options=RenderOptions(stretch="gzdecals")).array * 255
    assert np.abs(ours - theirs).mean() < 1.0
    assert np.abs(np.trunc(ours) - theirs).mean() < 0.001  # truncated, as they did


def make_varied_planes(count: int) -> list[np.ndarray[Any, Any]]:
    """Noise, galaxies, few values, tiny frames, one value."""
    rng = np.random.default_rng(0)
    planes: list[Any] = [make_flux(side=32 + 3 * k, seed=k)[0] for k in range(count)]
    planes += [rng.standard_cauchy((40 + k, 30)).astype(np.float32) for k in range(count)]
    planes += [rng.integers(0, 1 + k % 4, (20, 20)).astype(np.float32) for k in range(count)]
    return [*planes, *(rng.normal(size=(k, k + 1)).astype(np.float32) for k in range(1, 12))]


@pytest.mark.parametrize("percentile", [0.0, 0.25, 1.0, 5.0, 25.0, 50.0, 99.75, 99.8, 100.0])
def test_percentiles_are_numpys(percentile: float) -> None:
    for plane in make_varied_planes(20):
        expected = np.percentile(plane.astype(np.float64), percentile)
        (found,) = find_percentiles(plane, [percentile])
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_zscale_is_astropys() -> None:
    interval = ZScaleInterval()
    for plane in make_varied_planes(40):
        assert find_zscale(plane) == pytest.approx(interval.get_limits(plane), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", STRETCHES)
def test_a_part_is_rendered_as_the_whole(name: str) -> None:
    bands = ("g", "r", "i") if name == "sdss" else ("g", "r", "z")
    planes, stretch = make_planes(bands, side=60), get_stretch(name)
    seen = slice(7, 40), slice(11, 33)
    whole, part = stretch.render(planes), stretch.render(planes, seen)
    np.testing.assert_allclose(part, whole[:, *seen], atol=1e-6)
