"""Headers whose WCS misleads, hangs or kills wcslib: a right position or none, and a word on it."""

from __future__ import annotations

import contextlib
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from mutants import WCS_SEEDS, make_header_mutant
from synthetic import as_stored, load_wcs, make_header, make_profile, write_cards, write_fits

from galmorph.errors import ImageError, UnsupportedImageError
from galmorph.images.mosaic import mosaic_sources
from galmorph.images.read import read_cutout
from galmorph.images.sky import frame_from_header, to_pixel
from galmorph.settings import ReadOptions

SHAPE = (64, 64)
STEP = 0.262 / 3600
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_0_2": 2e-4, "A_2_0": -1e-3, "B_1_1": 3e-4, "B_0_2": 2e-3}
SIP_TYPES = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}


def append(header: fits.Header, *cards: str) -> fits.Header:
    """Cards as they stand, also those that stand twice."""
    for card in cards:
        header.append(fits.Card.fromstring(card.ljust(80)), end=True)
    return header


def assert_same_sky(header: fits.Header, expected: fits.Header) -> None:
    frame, other = frame_from_header(header, SHAPE), frame_from_header(expected, SHAPE)
    assert (frame.ra, frame.dec) == pytest.approx((other.ra, other.dec), abs=1e-9)
    assert frame.pixel_scale == pytest.approx(other.pixel_scale, rel=1e-9)
    assert frame.orientation == other.orientation


@pytest.mark.parametrize("kind", ["TAN", "TPV", "ZEA"])
def test_sip_without_its_suffix_is_not_applied(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    types = {"CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}", "CRPIX1": -600.0}
    assert_same_sky(make_header(**types, **SIP), make_header(**types))
    path = write_fits(tmp_path / "a.fits", make_profile(), **types, **SIP)
    part = read_cutout(path, options=ReadOptions(fov=20 * 0.262))
    assert (part.ra, part.dec) == pytest.approx((read_cutout(path).ra, read_cutout(path).dec))
    assert part.array.shape == (1, 20, 20)
    list(mosaic_sources(path, [], fov=5.0))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("order", [10, 1000, 30000, -1, 2.5, "two"])
@pytest.mark.parametrize("card", ["A_ORDER", "B_ORDER"])
def test_sip_of_an_absurd_order_is_not_applied(tmp_path: Path, card: str, order: object) -> None:
    cards = {**SIP_TYPES, **SIP, "CRPIX1": -600.0, card: order}
    start = time.process_time()
    cutout = read_cutout(write_fits(tmp_path / "a.fits", make_profile(), **cards))
    assert time.process_time() - start < 2
    assert cutout.notes["message"] == f"SIP distortion of the order {order} is not applied"
    plain = frame_from_header(make_header(CRPIX1=-600.0), SHAPE)
    assert (cutout.ra, cutout.dec) == pytest.approx((plain.ra, plain.dec), abs=1e-9)


@pytest.mark.parametrize("order", [30000, 12])
def test_an_absurd_inverse_is_no_matter(order: int) -> None:
    header = make_header(**SIP_TYPES, **SIP, AP_ORDER=order, BP_ORDER=order)
    expected = WCS(make_header(**SIP_TYPES, **SIP)).pixel_to_world(31.5, 31.5)
    frame = frame_from_header(header, SHAPE)
    assert (frame.ra, frame.dec) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-10)
    wcs, remark = load_wcs(header)
    assert to_pixel(wcs, frame.ra, frame.dec) == pytest.approx((31.5, 31.5), abs=1e-3)
    assert remark == ""


def make_with_tables(value: float = 0.8, *, records: tuple[str, ...] = ()) -> fits.HDUList:
    """An exposure of a Hubble camera, whose pixels are shifted by tables in further HDUs."""
    header = make_header(CPDIS1="LOOKUP", CPDIS2="LOOKUP", D2IMDIS1="LOOKUP")
    for axis, name in ((1, "DP1"), (2, "DP2"), (1, "D2IM1")):
        for record in (f"EXTVER: {axis}", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2"):
            append(header, f"{name:8}= '{record}'")
    append(header, *records)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(as_stored(make_profile()), header, name="SCI")]
    for number, (name, version) in enumerate([("WCSDVARR", 1), ("WCSDVARR", 2), ("D2IMARR", 1)]):
        table = np.full((8, 8), value * (number + 1), "f4")
        hdus.append(fits.ImageHDU(table, name=name, ver=version))
        hdus[-1].header.update(CRPIX1=1.0, CRPIX2=1.0, CRVAL1=1.0, CRVAL2=1.0)
        hdus[-1].header.update(CDELT1=9.0, CDELT2=9.0)
    return fits.HDUList(hdus)


def test_tables_of_distortions_are_used(tmp_path: Path) -> None:
    hdus = make_with_tables()
    hdus.writeto(tmp_path / "a.fits")
    expected = WCS(hdus[1].header, hdus).pixel_to_world(31.5, 31.5)
    without = frame_from_header(make_header(), SHAPE)
    cutout = read_cutout(tmp_path / "a.fits")
    assert (cutout.ra, cutout.dec) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-10)
    assert abs(cutout.dec - without.dec) > 0.5 * STEP
    assert "message" not in cutout.notes
    part = read_cutout(tmp_path / "a.fits", options=ReadOptions(center=(cutout.ra, cutout.dec)))
    assert "message" not in part.notes
    assert (part.ra, part.dec) == pytest.approx((cutout.ra, cutout.dec), abs=STEP)


def test_tables_that_are_not_there_are_said(tmp_path: Path) -> None:
    hdus = make_with_tables()
    hdus[1].writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    without = frame_from_header(make_header(), SHAPE)
    assert (cutout.ra, cutout.dec) == pytest.approx((without.ra, without.dec), abs=1e-9)
    assert "the distortion of CPDIS1, CPDIS2, D2IMDIS1 is not applied" in cutout.notes["message"]


@pytest.mark.parametrize(
    "records",
    [
        ("DP1     = 'NAXES: 2'", "DP2     = 'NAXES: 2'", "DP2     = 'NAXES: 2'"),
        ("DQ1     = 'NAXES: 2'", "DQ1     = 'NAXES: 2'", "CQDIS1  = 'TPD'"),
        ("DP1     = 'NAXES: 2000000000'",),
        ("D2IM1   = 'EXTVER: 9e99'", "D2IM1   = 'NAXES: -1'"),
        ("CQDIS1  = 'Polynomial'", "DQ1     = 'NAXES: 2'", "DQ1     = 'Coeff.1: 2'"),
        ("D2IMEXT = 'x.fits'", "AXISCORR=                    1"),
        ("DP9     = 'AXIS.99: 77'", "CPDIS9  = 'LOOKUP'"),
    ],
)
def test_records_that_stand_twice_do_not_reach_wcslib(
    tmp_path: Path, records: tuple[str, ...]
) -> None:
    make_with_tables(records=records).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    assert cutout.pixel_scale == pytest.approx(0.262, rel=1e-3)
    header = append(make_header(), *records)
    assert frame_from_header(header, SHAPE).pixel_scale == pytest.approx(0.262)


@pytest.mark.parametrize(
    "cards",
    [
        ["CTYPE1  = 'RA---TAN'"] * 50_000,
        [f"PV{i}_{m}".ljust(8) + "= 1.0" for i in (1, 2) for m in range(50, 999)],
        [f"PV1_{m % 40}".ljust(8) + f"= {m}" for m in range(2000)],
        ["WCSAXES =                20000"],
        ["CTYPE999= 'RA---TAN'", "PC999_99= 1.0", "NAXIS   =  999"],
        ["PS1_0   = 'x'"] * 3000,
        [f"CRPIX{n:<3}= 1.0" for n in range(3, 999)],
    ],
    ids=["ctype", "pv", "pv_twice", "wcsaxes", "axes", "ps", "crpix"],
)
def test_cards_in_absurd_numbers_are_no_matter(cards: list[str]) -> None:
    text = make_header().tostring(endcard=False, padding=False)
    header = fits.Header.fromstring(text + "".join(card.ljust(80) for card in cards))
    start = time.process_time()
    frame = frame_from_header(header, SHAPE)
    load_wcs(header)
    assert time.process_time() - start < 4
    assert math.isnan(frame.ra) or frame.pixel_scale == pytest.approx(0.262)


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("CRVAL1  =                 10.0", "CRVAL1"),
        ("CD1_1   =                  1.0", "CD1_1"),
        ("CTYPE2  = 'DEC--SIN'", "CTYPE"),
        ("CRPIX2  =                  NaN", "CRPIX2"),
        ("CD2_2   = 0,1", "CD2_2"),
    ],
)
def test_cards_that_contradict_each_other_give_no_position(
    tmp_path: Path, card: str, name: str
) -> None:
    own = [str(one) for one in make_header().cards]
    write_cards(tmp_path / "a.fits", make_profile(), [*own, card])
    cutout = read_cutout(tmp_path / "a.fits")
    assert math.isnan(cutout.ra) and math.isnan(cutout.pixel_scale)
    assert name in cutout.notes["message"]
    with pytest.raises(UnsupportedImageError, match=f"no WCS.*{name}"):
        read_cutout(tmp_path / "a.fits", options=ReadOptions(fov=4.0))
    with pytest.raises(UnsupportedImageError, match=f"must be a FITS image with a WCS .*{name}"):
        mosaic_sources(tmp_path / "a.fits", [], fov=4.0)


def test_cards_that_stand_twice_and_agree_are_used() -> None:
    header = append(make_header(), "CRVAL1  =                150.1", "CTYPE1  = 'RA---TAN'")
    assert_same_sky(header, make_header())


@pytest.mark.parametrize(
    "cards",
    [
        {"CRVAL1": None},
        {"CRVAL2": 95.0},
        {"CRPIX1": None},
        {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None},
        {"CTYPE1": "RA---TAB", "CTYPE2": "DEC--TAB"},
        {"CUNIT1": "furlong"},
        {"RADESYS": "MARS"},
    ],
)
def test_a_wcs_that_lacks_what_it_needs_is_none(cards: dict[str, Any]) -> None:
    header = make_header()
    for key, value in cards.items():
        header[key] = value
        if value is None:
            del header[key]
    frame = frame_from_header(header, SHAPE)
    assert math.isnan(frame.ra) and math.isnan(frame.pixel_scale)
    assert load_wcs(header)[0] is None


@pytest.mark.parametrize("angle", [0.0, 30.0, 200.0])
@pytest.mark.parametrize("swapped", [False, True])
def test_scales_and_a_turn_as_aips_writes_them(angle: float, swapped: bool) -> None:
    header = make_header(CDELT1=-STEP, CDELT2=1.2 * STEP, CROTA2=angle)
    if swapped:
        header.update(CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=2.2, CRVAL2=150.1)
        header["CROTA1"], header["CROTA2"] = angle, 0.0
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        del header[key]
    for x, y in ((31.5, 31.5), (3.0, 50.0)):
        expected = WCS(header).pixel_to_world(x, y)
        sky = load_wcs(header)[0].pixel_to_world(x, y)
        assert sky.separation(expected).arcsec < 1e-6
    assert frame_from_header(header, SHAPE).pixel_scale == pytest.approx(0.262 * math.sqrt(1.2))


def test_celestial_axes_that_are_not_the_first_two() -> None:
    header = fits.Header({"NAXIS": 3, "CTYPE1": "STOKES", "CTYPE2": "RA---SIN"})
    header.update(CTYPE3="DEC--SIN", CRVAL2=10.0, CRVAL3=-5.0, CRPIX2=32.5, CRPIX3=32.5)
    header.update(CDELT1=1.0, CDELT2=-STEP, CDELT3=STEP, CRPIX1=1.0, CRVAL1=1.0)
    frame = frame_from_header(header, SHAPE)
    assert (frame.ra, frame.dec) == pytest.approx((10.0, -5.0), abs=1e-9)
    assert frame.pixel_scale == pytest.approx(0.262)


def test_numbers_in_quotes_are_numbers() -> None:
    quoted = make_header(CRVAL1="150.1", CD1_1=str(-STEP), CRPIX1="32.5")
    assert_same_sky(quoted, make_header())


def test_plate_solution_of_the_digitized_sky_survey() -> None:
    """15 micrometres a pixel at 67.2 arcsec per mm, and a quadratic term."""
    header = fits.Header({"PLTRAH": 14, "PLTRAM": 30, "PLTRAS": 0.0, "PLTDECSN": "-"})
    header.update(PLTDECD=60, PLTDECM=15, PLTDECS=0.0, XPIXELSZ=25.0, YPIXELSZ=25.0)
    header.update(PPO3=177500.0, PPO6=177500.0, CNPIX1=7000, CNPIX2=7200, EQUINOX=2000.0)
    header.update({f"PPO{n}": 0.0 for n in (1, 2, 4, 5)} | {"PLTSCALE": 67.2})
    header.update({f"AMD{a}{n}": 0.0 for a in "XY" for n in range(1, 21)})
    header.update(AMDX1=67.2, AMDY1=67.2, AMDX4=0.05)
    # x and y in mm from the centre of the plate, at the middle of the cutout
    x = (177500 - 25 * (31.5 + 7000 + 0.5)) / 1000
    y = (25 * (31.5 + 7200 + 0.5) - 177500) / 1000
    xi, eta = math.radians((67.2 * x + 0.05 * x * x) / 3600), math.radians(67.2 * y / 3600)
    dec0 = math.radians(-60.25)
    along = math.cos(dec0) - eta * math.sin(dec0)
    ra = 217.5 + math.degrees(math.atan2(xi, along))
    dec = math.degrees(math.atan2(math.sin(dec0) + eta * math.cos(dec0), math.hypot(xi, along)))
    frame = frame_from_header(header, SHAPE)
    assert (frame.ra, frame.dec) == pytest.approx((ra, dec), abs=1e-4)
    assert frame.pixel_scale == pytest.approx(1.68, rel=0.01)
    del header["AMDX1"]
    assert math.isnan(frame_from_header(header, SHAPE).ra)


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"EQUINOX": 1950.0}, FK4(equinox="B1950")),
        ({"EPOCH": 1950.0}, FK4(equinox="B1950")),
        ({"EQUINOX": "B1950"}, FK4(equinox="B1950")),
        ({"RADECSYS": "FK4"}, FK4(equinox="B1950")),
        ({"RADESYS": "FK5", "EQUINOX": 2015.5}, FK5(equinox="J2015.5")),
        ({"EQUINOX": 2015.5}, FK5(equinox="J2015.5")),
        ({"RADESYS": "ICRS", "EQUINOX": 1950.0}, "icrs"),
        ({"EQUINOX": 2000.0}, "icrs"),
        ({"EQUINOX": "J2000.0"}, "icrs"),
        ({"EPOCH": 0.0}, "icrs"),
        ({}, "icrs"),
    ],
)
@pytest.mark.parametrize("names", [("RA", "DEC"), ("OBJCTRA", "OBJCTDEC")])
def test_position_cards_follow_their_system(
    cards: dict[str, Any], frame: Any, names: tuple[str, str]
) -> None:
    header = fits.Header({names[0]: "10 00 00", names[1]: "+20 30 00", **cards})
    expected = SkyCoord(150.0, 20.5, unit="deg", frame=frame).icrs
    found = frame_from_header(header, SHAPE)
    assert (found.ra, found.dec) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-7)
    assert names[0] in found.orientation
    header["RADESYS"] = "GAPPT"
    assert math.isnan(frame_from_header(header, SHAPE).ra)


@pytest.mark.parametrize("cards", WCS_SEEDS, ids=lambda cards: cards.get("CTYPE1", "plate"))
def test_headers_of_every_kind_agree_with_astropy(cards: dict[str, str]) -> None:
    text = "".join(f"{key:8}= {value}".ljust(80) for key, value in cards.items())
    header, without = fits.Header.fromstring(text), fits.Header.fromstring(text)
    for key in ("CPDIS1", "CPDIS2", "D2IMDIS1", "CQDIS1"):
        without.remove(key, ignore_missing=True)
    frame = frame_from_header(header, (16, 16))
    try:
        expected = WCS(without).pixel_to_world(7.5, 7.5).icrs
    except ValueError:  # of wcslib, on a polynomial that ends early
        assert math.isnan(frame.ra)
        return
    found = SkyCoord(frame.ra, frame.dec, unit="deg")
    assert math.isnan(expected.ra.deg) or found.separation(expected).arcsec < 0.03


def test_broken_headers_cost_at_most_their_position() -> None:
    """See benchmarks/fuzz_readers.py --kind headers for more of them."""
    rng = random.Random(17)
    for _ in range(250):
        data = make_header_mutant(rng)
        start = time.process_time()
        with contextlib.suppress(ImageError):
            cutout = read_cutout(data)
            assert cutout.array.shape == (1, 16, 16)
            assert math.isnan(cutout.ra) or (0 <= cutout.ra <= 360 and abs(cutout.dec) <= 90)
            if cutout.pixel_scale > 0:
                read_cutout(data, options=ReadOptions(fov=min(4 * cutout.pixel_scale, 1e9)))
        assert time.process_time() - start < 5
