"""Position, scale, orientation; band names; positions in file names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from synthetic import load_wcs, make_header, make_profile, write_fits, write_jpeg

from galmorph.errors import BandError
from galmorph.images.bands import (
    clean_band_name,
    find_band,
    find_band_names,
    is_band_name,
    name_bands,
    sort_by_wavelength,
)
from galmorph.images.calibration import find_survey, find_unit, find_zeropoint, is_magnitude
from galmorph.images.read import find_position, read_cutout
from galmorph.images.sky import (
    SkyFrame,
    Tan,
    describe_orientation,
    explain_difference,
    frame_at,
    frame_from_header,
    frame_from_wcs,
    load_sky,
    to_pixel,
)

SHAPE = (64, 64)
STEP = 0.262 / 3600


def rotated(angle: float, parity: int = -1, **cards: Any) -> fits.Header:
    """Header turned by an angle in degrees, with east left (-1) or right (+1)."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    matrix = {"CD1_1": parity * STEP * c, "CD1_2": STEP * s}
    matrix |= {"CD2_1": -parity * STEP * s, "CD2_2": STEP * c}
    header: fits.Header = make_header(**matrix, **cards)
    return header


def test_centre_is_what_astropy_says() -> None:
    header = make_header(CRPIX1=10.0, CRPIX2=50.0)
    frame = frame_from_header(header, (64, 80))
    expected = WCS(header).pixel_to_world(39.5, 31.5)
    assert (frame.ra, frame.dec) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-10)
    assert frame.pixel_scale == pytest.approx(0.262)


def test_plain_headers_give_what_astropy_gives() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        header = rotated(rng.uniform(0, 360), parity=int(rng.choice([-1, 1])))
        header["CRVAL1"], header["CRVAL2"] = rng.uniform(0, 360), rng.uniform(-89.9, 89.9)
        header["CRPIX1"], header["CRPIX2"] = rng.uniform(-2000, 2000, 2)
        quick, slow = frame_from_header(header, SHAPE), frame_from_wcs(load_wcs(header)[0], SHAPE)
        separation = SkyCoord(quick.ra, quick.dec, unit="deg").separation(
            SkyCoord(slow.ra, slow.dec, unit="deg")
        )
        assert separation.arcsec < 1e-6
        assert quick.pixel_scale == pytest.approx(slow.pixel_scale, rel=1e-12)
        assert quick.orientation == slow.orientation


@pytest.mark.parametrize(
    "cards",
    [
        {"EQUINOX": 2000.0, "RADESYS": "FK5"},
        {"EQUINOX": 1950.0, "RADESYS": "FK5"},
        {"EQUINOX": 2015.5, "RADESYS": "FK5"},
        {"EQUINOX": 2015.5, "RADESYS": "ICRS"},
        {"EQUINOX": 1950.0},
        {"EQUINOX": 1985.0},
        {"EPOCH": 1950.0},
        {"EPOCH": 2000.0},
        {"EPOCH": 1950.0, "EQUINOX": 2000.0},
    ],
)
def test_equinox_is_taken_into_account(cards: dict[str, Any]) -> None:
    header = make_header(**cards)
    expected = WCS(header).pixel_to_world(31.5, 31.5).icrs
    frame = frame_from_header(header, SHAPE)
    # FK5 J2000 counts as ICRS
    separation = SkyCoord(frame.ra, frame.dec, unit="deg").separation(expected)
    assert separation.arcsec < 0.03
    x, y = to_pixel(load_wcs(header)[0], expected.ra.deg, expected.dec.deg)
    assert (x, y) == pytest.approx((31.5, 31.5), abs=0.15)


def test_sip_distortion() -> None:
    header = make_header(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", CRPIX1=-500.0)
    for key, value in {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_1_1": 1e-5}.items():
        header[key] = value
    expected = WCS(header).pixel_to_world(31.5, 31.5)
    frame = frame_from_header(header, SHAPE)
    assert (frame.ra, frame.dec) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-10)
    assert to_pixel(load_wcs(header)[0], frame.ra, frame.dec) == pytest.approx(
        (31.5, 31.5), abs=1e-3
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (make_header(), "north up, east left"),
        (rotated(0, parity=1), "north up, east right"),
        (rotated(30), "top at position angle 30 deg, east left"),
        (rotated(180), "top at position angle 180 deg, east left"),
        (rotated(90, parity=1), "top at position angle 90 deg, mirrored"),
    ],
)
def test_orientation_in_words(header: fits.Header, expected: str) -> None:
    frame = frame_from_header(header, SHAPE)
    assert frame.orientation == expected
    assert frame.pixel_scale == pytest.approx(0.262)


def test_position_angle_is_that_of_the_top() -> None:
    # The position angle from the centre to a pixel above it, measured by astropy.
    header = rotated(40)
    wcs = WCS(header)
    centre, above = wcs.pixel_to_world(31.5, 31.5), wcs.pixel_to_world(31.5, 41.5)
    assert centre.position_angle(above).deg == pytest.approx(40, abs=0.1)
    assert "40 deg" in frame_from_header(header, SHAPE).orientation


def test_other_frames_become_icrs() -> None:
    header = make_header()
    header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    header["CRVAL1"], header["CRVAL2"] = 200.0, 40.0
    frame = frame_from_header(header, SHAPE)
    expected = SkyCoord(200.0, 40.0, frame="galactic", unit="deg").icrs
    assert (frame.ra, frame.dec) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-8)


def test_swapped_axes() -> None:
    header = make_header(CD1_1=0.0, CD1_2=STEP, CD2_1=-STEP, CD2_2=0.0)
    header["CTYPE1"], header["CTYPE2"] = "DEC--TAN", "RA---TAN"
    header["CRVAL1"], header["CRVAL2"] = 2.2, 150.1
    frame = frame_from_header(header, SHAPE)
    assert (frame.ra, frame.dec) == pytest.approx((150.1, 2.2), abs=1e-9)
    assert frame.orientation == "north up, east left"


@pytest.mark.parametrize(
    "cards",
    [
        {"CD1_1": 0.0, "CD2_2": 0.0},
        {"CTYPE1": "RA---XYZ"},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
        {"CRVAL1": "abc"},
        {"CRPIX1": 1e300},
    ],
)
def test_unusable_wcs_is_no_reason_to_refuse_the_pixels(
    tmp_path: Path, cards: dict[str, Any]
) -> None:
    write_fits(tmp_path / "a.fits", make_profile(), **cards)
    cutout = read_cutout(tmp_path / "a.fits")
    np.testing.assert_array_equal(cutout.array[0], make_profile())
    assert math.isnan(cutout.pixel_scale)


def test_matrix_given_twice_as_in_sdss_frames() -> None:
    header = make_header(PC1_1=-STEP, PC1_2=0.0, PC2_1=0.0, PC2_2=STEP, CDELT1=1.0, CDELT2=1.0)
    frame = frame_from_header(header, SHAPE)
    assert frame.pixel_scale == pytest.approx(0.262)
    assert header["PC1_1"] == -STEP  # the caller's header is left alone


def test_position_keywords_stand_in_for_a_wcs() -> None:
    header = fits.Header({"RA": 12.5, "DEC": -3.25})
    frame = frame_from_header(header, SHAPE)
    assert (frame.ra, frame.dec) == (12.5, -3.25)
    assert math.isnan(frame.pixel_scale)
    assert math.isnan(frame_from_header(fits.Header({"RA": 500.0, "DEC": 0.0}), SHAPE).ra)


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        ("10:18:49.8", "+12:57:22", (154.7075, 12.956111)),
        ("10h18m49.8s", "12d57m22s", (154.7075, 12.956111)),
        ("10 18 49.8", "-0 57 22", (154.7075, -0.956111)),
        ("154.5", "12.25", (154.5, 12.25)),
        ("unknown", "+12:57:22", None),
        ("10:18:49.8", 12.5, None),
        ("", "", None),
    ],
)
def test_position_keywords_as_text(
    ra: str, dec: object, expected: tuple[float, float] | None
) -> None:
    frame = frame_from_header(fits.Header({"RA": ra, "DEC": dec}), SHAPE)
    if expected is None:
        assert math.isnan(frame.ra) and math.isnan(frame.dec)
    else:
        assert (frame.ra, frame.dec) == pytest.approx(expected, abs=1e-6)


def test_describe_orientation_of_plain_lists() -> None:
    assert describe_orientation([[-1, 0], [0, 1]]) == "north up, east left"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SDSSJ094651.40-010228.5", (146.714166, -1.041250)),
        ("J0000000+000000", None),
        ("J000000+000000", (0.0, 0.0)),
        ("ra146.7142_dec-1.0413", (146.7142, -1.0413)),
        ("146.71421_-1.04128", (146.71421, -1.04128)),
        ("146.71421+1.04128", (146.71421, 1.04128)),
        ("587722981742084144", None),
        ("J256161.00+999999.9", None),
        ("400.0000_20.0000", None),
        ("v1.2_3.4", None),
        ("NGC1234", None),
    ],
)
def test_position_from_a_name(name: str, expected: tuple[float, float] | None) -> None:
    found = find_position(name)
    assert found == (pytest.approx(expected, abs=1e-5) if expected else None)


def test_position_of_a_jpeg_comes_from_its_name(tmp_path: Path) -> None:
    cutout = read_cutout(write_jpeg(tmp_path / "J094651.40-010228.5.jpg"))
    assert (cutout.ra, cutout.dec) == pytest.approx((146.714166, -1.041250), abs=1e-5)
    assert cutout.notes["position"] == "from the file name"


def test_position_of_the_wcs_goes_before_the_name(tmp_path: Path) -> None:
    cutout = read_cutout(write_fits(tmp_path / "10.0000_20.0000.fits", make_profile()))
    assert cutout.ra == pytest.approx(150.1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("g DECam SDSS c0001 4720.0 1520.0", "g"),
        ("HSC-R", "r"),
        ("R", "R"),
        ("SDSS-u", "u"),
        ("F814W", "F814W"),
        ("  i  ", "i"),
        ("", ""),
        ("F606W;CLEAR2L", "F606W"),
        ("CLEAR1L;F814W", "F814W"),
        ("F814W/CLEAR", "F814W"),
        ("WFC3/F160W", "F160W"),
        ("CLEAR", ""),
        ("F606W;F814W", "F606W;F814W"),
        ("OmegaCAM r_SDSS", "r"),
        ("OmegaCAM u_SDSS", "u"),
        ("gp", "g"),
        ("zs", "z"),
        ("RP", "RP"),
        ("I_JOHN", "I"),
        ("R-BESSEL", "R"),
        ("Cousins-R", "R"),
        ("Y_MKO", "Y"),
        ("y_ps1", "y"),
        ("BB#Rc/162", "Rc"),
        ("r-band", "r"),
        ("='r'", "r"),
        ("I+Z", "I+Z"),
        ("NIR-Y", "y"),
        ("NIR-H", "H"),
        ("bokr", "r"),
        ("bokg", "g"),
        ("MzLS z", "z"),
        ("r.00000", "r"),
        ("VISTA Ks", "Ks"),
        ("2MASS J", "J"),
        ("J UKIRT", "J"),
        ("H alpha", "H alpha"),
        ("H Alpha 6563", "H Alpha 6563"),
        ("S II", "S II"),
        ("K cont", "K cont"),
        ("K short", "Ks"),
    ],
)
def test_clean_band_name(name: str, expected: str) -> None:
    assert clean_band_name(name) == expected


def test_band_names_must_fit_the_planes() -> None:
    assert find_band_names({"BANDS": "grz"}, 3) == ("g", "r", "z")
    assert find_band_names({"BANDS": "grz"}, 2) is None
    assert find_band_names({"BANDS": "ggg"}, 3) is None
    assert find_band_names({"BANDS": "the best"}, 3) is None
    assert find_band_names({"CTYPE3": "WAVE"}, 4) is None
    assert find_band_names({}, 10**9) is None


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTER": "HSC-R"}, "r"),
        ({"FILTNAM": "F606W"}, "F606W"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "F814W"),
        ({"FILTER1": "F475W", "FILTER2": "CLEAR2L"}, "F475W"),
        ({"FILTER": "CLEAR", "FILTER1": "F475W"}, "F475W"),
        ({"FILTER": "empty_7", "BAND": "g"}, "g"),
        ({"FILTER": "strange"}, "strange"),
    ],
)
def test_name_of_a_single_plane(cards: dict[str, str], name: str) -> None:
    assert find_band_names(cards, 1) == (name,)


def test_wavelength_order() -> None:
    bands = ("F444W", "F115W", "F200W")
    assert sort_by_wavelength(bands) == [1, 2, 0]
    assert sort_by_wavelength(("F160W", "F606W", "F814W")) == [1, 2, 0]
    assert sort_by_wavelength(("G", "R", "Z")) == [0, 1, 2]
    assert sort_by_wavelength(("i2", "r2", "g")) == [2, 1, 0]
    assert sort_by_wavelength(("NB921", "J0378", "NB0515")) == [1, 2, 0]
    assert sort_by_wavelength(("UVW1", "UVW2", "UVM2")) == [1, 2, 0]
    assert sort_by_wavelength(("F158", "F106", "F129")) == [1, 2, 0]  # Roman
    assert sort_by_wavelength(("F861", "F378", "F515")) == [1, 2, 0]  # S-PLUS
    assert sort_by_wavelength(("K_s", "J", "H")) == [1, 2, 0]
    assert sort_by_wavelength(("I3", "I2", "ch1")) == [2, 1, 0]  # Spitzer
    assert is_band_name("Ks") and not is_band_name("SCI")


def test_bands_of_unknown_wavelength_have_no_order() -> None:
    assert sort_by_wavelength(("strange",)) == [0]
    with pytest.raises(BandError, match="the wavelength of strange is not known.*--bands g,r,z"):
        sort_by_wavelength(("strange", "z", "u"))


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (["G", "R", "Z"], "g r z"),
        (["G", "R", "I"], "g r i"),
        (["R", "G", "B"], "R g B"),
        (["HSC-G", "HSC-R2", "HSC-I2"], "g r2 i2"),
        (["HSC-I", "HSC-G", "HSC-R"], "i g r"),
        (["g", "R2", "I2"], "g r2 i2"),
        (["g'", "r'", "i.MP9702"], "g r i"),
        (["g_SDSS", "rSDSS", "i_SDSS"], "g r i"),
        (["g_01", "r_57", "i_39"], "g r i"),
        (["ZTF_g", "ztf-r"], "g r"),
        (["I1", "I2"], "I1 I2"),
        (["U", "B", "V", "R", "I"], "U B V R I"),
        (["j", "h", "KS"], "J H Ks"),
        (["NIR_Y", "vis"], "y VIS"),
        (["g", "G"], "g G"),
        (["first", "second"], "first second"),
    ],
)
def test_names_of_bands_that_stand_together(names: list[str], bands: str) -> None:
    assert name_bands(names) == tuple(bands.split())


def test_a_band_is_found_in_other_letters() -> None:
    assert find_band("R", ("g", "r", "z")) == "r"
    assert find_band("HSC-G", ("g", "r")) == "g"
    assert find_band("R", ("r", "R")) == "R"
    assert find_band("i", ("g", "r")) is None


def test_what_two_images_show() -> None:
    """By the distance on the sphere, that of the chord."""

    def chord(one: SkyFrame, other: SkyFrame) -> float:
        points = []
        for frame in (one, other):
            ra, dec = math.radians(frame.ra), math.radians(frame.dec)
            points.append(
                (math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec))
            )
        return math.degrees(2 * math.asin(math.dist(*points) / 2)) * 3600

    first = SkyFrame(359.9999, 60.0, 0.262)
    for pixels, differ in ((1.4, False), (1.6, True), (1000.0, True)):
        step = pixels * 0.262 / 3600
        for shifted in (
            SkyFrame((359.9999 + 2 * step) % 360, 60.0, 0.262),
            SkyFrame(359.9999, 60.0 + step, 0.262),
        ):
            assert chord(first, shifted) == pytest.approx(pixels * 0.262, rel=0.01)
            assert bool(explain_difference(first, shifted)) == differ
    assert "pixels of 0.262 and 0.524 arcsec" in explain_difference(
        first, SkyFrame(359.9999, 60.0, 0.524)
    )
    assert not explain_difference(first, SkyFrame(359.9999, 60.0, 0.2635))
    assert not explain_difference(first, SkyFrame(10.0, 60.0))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"SURVEY": "DECaLS"}, "legacysurvey"),
        ({"SURVEY": "DECaLS+BASS+MzLS"}, "legacysurvey"),
        ({"SURVEY": "LegacySurvey"}, "legacysurvey"),
        ({"LEGPIPEV": "DR9.5.2"}, "legacysurvey"),
        ({"ORIGIN": "SDSS"}, "sdss"),
        ({"SURVEY": "SDSS"}, "sdss"),
        ({"SURVEY": "HSC"}, "hsc"),
        ({}, ""),
    ],
)
def test_survey(header: dict[str, str], expected: str) -> None:
    assert find_survey(header) == expected


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("nanomaggies", "nanomaggy"),
        ("nMgy/pixel", "nanomaggy"),
        ("ADU", "adu"),
        ("counts / s", "adu/s"),
        ("uJy", "uJy"),
        ("MJy/sr", "MJy/sr"),
        ("erg", "erg"),
        ("", ""),
    ],
)
def test_unit(unit: str, expected: str) -> None:
    assert find_unit({"BUNIT": unit}) == expected


@pytest.mark.parametrize(
    "unit",
    ["mag", "mag/arcsec2", "mag(AB)", "ABmag", "Magnitudes", "mmag", "Vmag", "mag arcsec^-2"]
    + ["AB mag", "ab mag/arcsec2", "mag_AB", "[mag]", "(mag)", "log mag"],
)
def test_magnitudes(unit: str) -> None:
    assert is_magnitude(find_unit({"BUNIT": unit}))


@pytest.mark.parametrize(
    "unit",
    ["nanomaggies", "nanomags", "maggies", "image", "magnetic", "counts (mag zp 25)", "zp=22.5 mag"]
    + ["DN, AB mag zero point 27", "10**(-0.4*mag)", "flux for mag_zp=25", ""],
)
def test_units_that_only_look_like_magnitudes(unit: str) -> None:
    assert not is_magnitude(find_unit({"BUNIT": unit}))


def test_zeropoint() -> None:
    assert find_zeropoint({"MAGZERO": 22.5}) == 22.5
    assert find_zeropoint({"MAGZPT": 25}) == 25.0
    assert find_zeropoint({"MAGZPT": np.float32(25.5)}) == 25.5
    assert math.isnan(find_zeropoint({"MAGZERO": "none"}))
    assert math.isnan(find_zeropoint({"MAGZERO": True}))
    assert math.isnan(find_zeropoint({"MAGZERO": -99.0}))


@pytest.mark.parametrize("radesys", ["", "ICRS", "FK5"])
@pytest.mark.parametrize(
    ("axes", "frame"),
    [("GLON GLAT", "galactic"), ("SLON SLAT", "supergalactic"),
     ("ELON ELAT", "barycentricmeanecliptic")],
)  # fmt: skip
def test_axes_that_are_not_equatorial(axes: str, frame: str, radesys: str) -> None:
    header = rotated(0.0)
    header["CTYPE1"], header["CTYPE2"] = (f"{name}-TAN" for name in axes.split())
    header["CRVAL1"], header["CRVAL2"] = 150.0, 2.0
    if radesys:
        header["RADESYS"] = radesys
    expected = SkyCoord(150.0, 2.0, unit="deg", frame=frame).icrs
    found = frame_from_header(header, (64, 64))
    assert (found.ra, found.dec) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-6)
    wcs, _ = load_wcs(header)
    assert to_pixel(wcs, found.ra, found.dec) == pytest.approx((31.5, 31.5), abs=1e-4)


def test_a_position_in_an_unknown_system_is_none() -> None:
    header = fits.Header({"RA": 150.0, "DEC": 2.0, "RADESYS": "GAPPT"})
    found = frame_from_header(header, SHAPE)
    assert math.isnan(found.ra)
    assert found.remark == "RA and DEC are not used: RADESYS names a system unknown here"


@pytest.mark.parametrize(
    ("value", "expected"), [("22.5", 22.5), (" 25 ", 25.0), ("22.5 mag", None), (True, None)]
)
def test_zero_points_in_quotes(value: object, expected: float | None) -> None:
    found = find_zeropoint({"MAGZERO": value})
    assert found == expected if expected else math.isnan(found)
    assert find_unit({"BUNIT": 5}) == ""


def test_a_plain_projection_is_asked_without_astropy() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        header = rotated(rng.uniform(0, 360), parity=int(rng.choice([-1, 1])))
        header["CRVAL1"], header["CRVAL2"] = rng.uniform(0, 360), rng.uniform(-89.9, 89.9)
        wcs, (sky, _) = WCS(header), load_sky(header)
        assert isinstance(sky, Tan)
        for x, y in rng.uniform(-3000, 3000, (5, 2)):
            ra, dec = map(float, wcs.wcs_pix2world(x, y, 0))
            assert to_pixel(sky, ra, dec) == pytest.approx((x, y), abs=1e-6)
            frame = frame_at(sky, x, y)
            assert (
                SkyCoord(ra, dec, unit="deg")
                .separation(SkyCoord(frame.ra, frame.dec, unit="deg"))
                .arcsec
                < 1e-6
            )
        assert math.isnan(to_pixel(sky, header["CRVAL1"] + 180, -header["CRVAL2"])[0])
