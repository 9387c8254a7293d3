"""Flux to colours: bands, units, bad pixels, flags and notes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic import make_flux, make_rgb

from galmorph.errors import BandError, PixelError, UnsupportedImageError
from galmorph.flags import Flags
from galmorph.images.cutout import Cutout
from galmorph.preprocessing.render import render
from galmorph.preprocessing.stretch import get_stretch
from galmorph.settings import RenderOptions

GRZ = ("g", "r", "z")


def make_cutout(bands: tuple[str, ...] = GRZ, **values: Any) -> Cutout:
    return Cutout(make_flux(bands), bands, "flux", **values)


def test_rendered_bytes_pass_untouched() -> None:
    cutout = Cutout(make_rgb().transpose(2, 0, 1))
    assert render(cutout) is cutout


def test_rendered_floats_are_filled_and_clipped() -> None:
    array = np.full((3, 8, 8), 0.5, dtype=np.float32)
    array[:, 2, 2] = np.nan
    rendered = render(Cutout(array))
    np.testing.assert_allclose(rendered.array, 0.5)
    assert rendered.flags == Flags.BAD_PIXELS_FILLED
    assert rendered.notes["bad_pixels"] == "1"


def test_flux_becomes_red_green_blue() -> None:
    cutout = make_cutout(survey="legacysurvey", object_id="a", ra=1.0, notes={"hdu": "0"})
    rendered = render(cutout)
    assert (rendered.kind, rendered.bands) == ("rendered", ("red", "green", "blue"))
    assert (rendered.object_id, rendered.ra) == ("a", 1.0)
    assert rendered.notes == {
        "hdu": "0",
        "stretch": "legacysurvey",
        "bands": "g,r,z",
        "unit": "assumed nanomaggy",
    }
    assert rendered.flags == Flags.NONE


def test_order_of_planes_does_not_matter() -> None:
    cutout = make_cutout(survey="legacysurvey")
    turned = Cutout(cutout.array[::-1].copy(), GRZ[::-1], "flux", survey="legacysurvey")
    np.testing.assert_array_equal(render(cutout).array, render(turned).array)


def test_one_band_is_grey_and_flagged() -> None:
    rendered = render(make_cutout(("r",), survey="legacysurvey"))
    np.testing.assert_array_equal(rendered.array[0], rendered.array[2])
    assert rendered.flags == Flags.OUTSIDE_COLOUR_DOMAIN


def test_two_bands_give_the_third_as_their_mean() -> None:
    cutout = make_cutout(("g", "z"))
    rendered = render(cutout, options=RenderOptions(stretch="gzdecals"))
    g, z = cutout.array[0] / 0.008, cutout.array[1] / 0.019
    three = {"g": g * 0.008, "r": (g + z) / 2 * 0.014, "z": z * 0.019}
    np.testing.assert_allclose(rendered.array, get_stretch("gzdecals").render(three), atol=1e-5)
    assert rendered.flags == Flags.OUTSIDE_COLOUR_DOMAIN


def test_wrong_bands_for_a_named_stretch() -> None:
    with pytest.raises(BandError, match="the stretch 'sdss' is for"):
        render(make_cutout(), options=RenderOptions(stretch="sdss"))


@pytest.mark.parametrize(
    ("factor", "unit", "zeropoint", "notes"),
    [
        (10.0, "adu", 25.0, {}),  # 25 - 22.5 = 2.5 mag: ten counts are one nanomaggy
        (10.0, "adu", None, {"zeropoint": "25.0"}),
        (3.631, "uJy", None, {}),
        (3631.0, "nJy", None, {}),
    ],
)
def test_units_become_nanomaggies(
    factor: float, unit: str, zeropoint: float | None, notes: dict[str, str]
) -> None:
    reference = make_cutout(unit="nanomaggy")
    scaled = Cutout(reference.array * np.float32(factor), GRZ, "flux", unit=unit, notes=notes)
    options = RenderOptions(stretch="legacysurvey", zeropoint=zeropoint)
    expected = render(reference, options=RenderOptions(stretch="legacysurvey"))
    np.testing.assert_allclose(render(scaled, options=options).array, expected.array, atol=1e-5)


def test_given_zero_point_goes_before_those_of_the_bands() -> None:
    counts = make_flux(GRZ)
    scaled = counts * np.array([1, 0.1, 0.001], dtype=np.float32)[:, None, None]
    notes = {"zeropoint": "22.5", "band_factors": "1,0.1,0.001"}
    joined = Cutout(scaled, GRZ, "flux", unit="adu", notes=notes)
    by_header = render(joined, options=RenderOptions(stretch="gzdecals"))
    np.testing.assert_array_equal(
        by_header.array,
        render(Cutout(scaled, GRZ, "flux"), options=RenderOptions(stretch="gzdecals")).array,
    )
    options = RenderOptions(stretch="gzdecals", zeropoint=22.5)
    by_hand = render(joined, options=options)
    np.testing.assert_allclose(
        by_hand.array, render(Cutout(counts, GRZ, "flux"), options=options).array, atol=1e-5
    )
    assert by_hand.notes["band_factors"] == "1,1,1"


def test_counts_without_a_zero_point_are_refused_by_a_survey_stretch() -> None:
    with pytest.raises(
        UnsupportedImageError, match=r"a\.fits: .*unit is 'adu'; give the zero point"
    ):
        render(make_cutout(unit="adu", path="a.fits"), options=RenderOptions(stretch="gzdecals"))
    render(make_cutout(unit="adu"), options=RenderOptions(stretch="asinh"))


def test_nan_never_reaches_the_colours() -> None:
    cutout = make_cutout(survey="legacysurvey")
    cutout.array[:, 20:24, 20:24] = np.nan
    for stretch in ("auto", "gzdecals", "lupton", "asinh", "zscale", "percentile"):
        rendered = render(cutout, options=RenderOptions(stretch=stretch))
        assert np.isfinite(rendered.array).all()
        assert rendered.flags & Flags.BAD_PIXELS_FILLED
        assert rendered.notes["bad_pixels"] == "16"


def test_refused_bad_pixels() -> None:
    cutout = make_cutout()
    cutout.array[0, 0, 0] = np.nan
    with pytest.raises(PixelError, match="1 of 4096 pixels are bad"):
        render(cutout, options=RenderOptions(nan="refuse"))


def test_bad_pixels_of_a_band_that_is_not_used_do_not_matter() -> None:
    cutout = make_cutout(("u", "g", "r", "i"), survey="sdss", unit="nanomaggy")
    cutout.array[0] = np.nan
    assert render(cutout).flags == Flags.NONE
    assert render(cutout, options=RenderOptions(nan="refuse")).flags == Flags.NONE


def test_band_without_a_good_pixel_is_refused_where_bad_pixels_are() -> None:
    cutout = make_cutout(survey="legacysurvey")
    cutout.array[2] = np.nan
    with pytest.raises(PixelError, match="no good pixel in at least one band"):
        render(cutout, options=RenderOptions(nan="refuse"))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_band_that_was_not_observed_at_all_is_left_out(value: float) -> None:
    cutout = make_cutout(("g", "r", "i", "z"), survey="legacysurvey")
    cutout.array[2] = value
    rendered = render(cutout)
    assert rendered.notes["empty_bands"] == "i"
    assert rendered.notes["bands"] == "g,r,z"
    assert rendered.flags == Flags.NONE
    cutout.array[3] = value
    rendered = render(cutout)
    assert rendered.notes["bands"] == "g,r"
    assert rendered.flags == Flags.OUTSIDE_COLOUR_DOMAIN
    cutout.array[:] = value
    with pytest.raises(PixelError, match="no good pixel"):
        render(cutout)


def test_unobserved_band_of_the_legacy_surveys() -> None:
    cutout = make_cutout(survey="legacysurvey")
    cutout.array[0, :40] = 0
    rendered = render(cutout)
    assert rendered.flags & Flags.MANY_BAD_PIXELS
    assert np.abs(rendered.array[2, :40] - rendered.array[1, :40]).max() < 0.3
    elsewhere = make_cutout(survey="")
    elsewhere.array[0, :40] = 0
    assert not render(elsewhere).flags & Flags.MANY_BAD_PIXELS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nan": "ignore"}, "nan is one of interpolate, zero, refuse"),
        ({"nan_fraction": 1.5}, "nan_fraction must be within 0 to 1"),
        ({"zeropoint": float("nan")}, "zeropoint must be a magnitude"),
    ],
)
def test_options_check_themselves(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RenderOptions(**values)


def test_zeros_that_compression_made_are_used() -> None:
    cutout = make_cutout(survey="legacysurvey", notes={"zeros": "rounded by the compression"})
    cutout.array[:, 3:9, 3:9] = 0
    assert "bad_pixels" not in render(cutout).notes
    assert render(replace(cutout, notes={})).notes["bad_pixels"] == "36"
    cutout.array[2] = 0  # a band that is nothing else was not observed all the same
    assert render(cutout).notes["empty_bands"] == "z"
