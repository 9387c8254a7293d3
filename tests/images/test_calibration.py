"""Units and zero points of bands brought to one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic import make_flux

from galmorph.errors import BandError
from galmorph.images.calibration import (
    Calibration,
    calibration_from_header,
    match_planes,
    restore_counts,
)
from galmorph.images.cutout import Cutout

GRZ = ("g", "r", "z")
NANOMAGGY = Calibration("nanomaggy", 30.0, "a.fits")  # the unit goes before the card


@pytest.mark.parametrize(
    ("calibration", "janskys"),
    [
        (Calibration("nanomaggy"), 3.631e-6),
        (Calibration("Jy"), 1.0),
        (Calibration("mJy", 25.0), 1e-3),
        (Calibration("uJy"), 1e-6),
        (Calibration("nJy"), 1e-9),
        (Calibration("adu", 25.0), 3.631e-7),
        (Calibration("", 0.0), 3631.0),
    ],
)
def test_magnitude_of_a_flux_of_one(calibration: Calibration, janskys: float) -> None:
    assert calibration.magnitude == pytest.approx(-2.5 * math.log10(janskys / 3631), abs=1e-9)
    assert calibration.factor_to(NANOMAGGY) == pytest.approx(janskys / 3.631e-6)
    assert calibration.factor_to(calibration) == 1


@pytest.mark.parametrize("unit", ["adu", "", "MJy/sr"])
def test_one_unit_without_a_zero_point(unit: str) -> None:
    assert Calibration(unit).factor_to(Calibration(unit)) == 1


@pytest.mark.parametrize(
    "calibration",
    [Calibration("adu"), Calibration("electron/s"), Calibration("MJy/sr")],
)
def test_what_cannot_be_compared(calibration: Calibration) -> None:
    for first, second in [(calibration, NANOMAGGY), (NANOMAGGY, calibration)]:
        with pytest.raises(BandError, match=r"no zero point.*MAGZERO"):
            first.factor_to(second)
    with pytest.raises(BandError, match="cannot be brought to that of"):
        calibration.factor_to(Calibration("count"))


def test_a_band_without_cards_is_taken_as_the_others_and_named() -> None:
    flux = make_flux(GRZ)
    bare, faint, bright = Calibration(), Calibration("adu", 25.0), Calibration("adu", 22.5)
    planes, known, notes = match_planes(flux, [bare, bright, faint])
    assert known == bright
    np.testing.assert_allclose(planes, flux * np.float32([1, 1, 0.1])[:, None, None], rtol=1e-6)
    assert notes == {"band_factors": "1,1,0.1", "uncalibrated": "1"}
    same, _, notes = match_planes(flux, [bright, bare, bare])
    assert same is flux and notes == {"uncalibrated": "2,3"}
    assert match_planes(flux, [bare, bare, bare])[1:] == (bare, {})


def test_cards_that_count() -> None:
    header = {"BUNIT": "counts", "ZP": 27.0, "MAGZPT": 26.0, "PHOTFLAM": 1e-19}
    assert calibration_from_header(header, "a.fits") == Calibration("adu", 26.0, "a.fits")


def test_planes_are_matched_and_restored() -> None:
    flux = make_flux(GRZ)
    planes, _, notes = match_planes(flux, [Calibration("adu", zp) for zp in (25.0, 26.0, 25.0)])
    expected = np.stack([flux[0], flux[1] * 10**-0.4, flux[2]])
    np.testing.assert_allclose(planes, expected, rtol=1e-6)
    assert planes.dtype == np.float32
    back = restore_counts(Cutout(planes, GRZ, "flux", notes=notes))
    np.testing.assert_allclose(back.array, flux, rtol=1e-6)
    assert restore_counts(back).notes["band_factors"] == "1,1,1"
    same, _, notes = match_planes(flux, [Calibration("adu")] * 3)
    assert same is flux and notes == {}
