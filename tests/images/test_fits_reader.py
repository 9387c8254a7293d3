"""Every FITS variant that surveys ship; each row of docs/inputs.md has one of these tests."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from synthetic import (
    as_stored,
    make_flux,
    make_header,
    make_profile,
    make_rgb,
    write_bands,
    write_fits,
    write_jpeg,
)

from galmorph.errors import (
    BandError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.flags import Flags
from galmorph.images.read import read_cutout
from galmorph.preprocessing.render import render
from galmorph.settings import ReadOptions, RenderOptions

FLUX = make_flux()
GREY = FLUX[1]


def test_cube_with_band_names(tmp_path: Path) -> None:
    cutout = read_cutout(write_fits(tmp_path / "a.fits", FLUX, BANDS="grz"))
    assert cutout.bands == ("g", "r", "z")
    assert (cutout.kind, cutout.array.dtype) == ("flux", np.float32)
    np.testing.assert_array_equal(cutout.array, FLUX)


def test_row_zero_is_the_top(tmp_path: Path) -> None:
    marked = np.zeros((8, 8), dtype=np.float32)
    marked[0, :] = 1  # the top row as shown
    write_fits(tmp_path / "a.fits", marked)
    stored = fits.getdata(tmp_path / "a.fits")
    assert stored[-1].all() and not stored[0].any()
    assert read_cutout(tmp_path / "a.fits").array[0, 0].all()


def test_extension_hdu_is_found(tmp_path: Path) -> None:
    image = fits.ImageHDU(as_stored(GREY), make_header(), name="SCI")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table, image]).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    np.testing.assert_array_equal(cutout.array[0], GREY)
    assert cutout.notes["hdu"] == "2 (SCI)"


@pytest.mark.parametrize("hdu", [2, "SECOND", "2"])
def test_hdu_by_number_or_name(tmp_path: Path, hdu: int | str) -> None:
    first = fits.ImageHDU(as_stored(GREY), name="FIRST")
    second = fits.ImageHDU(as_stored(2 * GREY), name="SECOND")
    fits.HDUList([fits.PrimaryHDU(), first, second]).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits", options=ReadOptions(hdu=hdu))
    np.testing.assert_array_equal(cutout.array[0], 2 * GREY)


def test_missing_hdu_says_what_there_is(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", GREY)
    with pytest.raises(UnsupportedImageError, match=r"no HDU 'SCI': the file has HDU 0: 64x64"):
        read_cutout(tmp_path / "a.fits", options=ReadOptions(hdu="SCI"))


def test_table_without_image(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])], name="CAT")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    with pytest.raises(UnsupportedImageError, match=r"a\.fits: no HDU with a 2-D or 3-D image"):
        read_cutout(tmp_path / "a.fits")


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_compressed_file(tmp_path: Path, suffix: str, pack: Any) -> None:
    plain = write_fits(tmp_path / "a.fits", FLUX, BANDS="grz")
    packed = tmp_path / ("b.fits" + suffix)
    packed.write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(read_cutout(packed).array, FLUX)
    assert read_cutout(packed).object_id == "b"


@pytest.mark.parametrize("suffix", [".FITS", ".fit", ".fts", ".FIT", ".dat"])
def test_any_suffix(tmp_path: Path, suffix: str) -> None:
    path = write_fits(tmp_path / f"a{suffix}", GREY)
    np.testing.assert_array_equal(read_cutout(path).array[0], GREY)


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_tile_compression(tmp_path: Path, kind: str) -> None:
    hdu = fits.CompImageHDU(
        as_stored(GREY), make_header(FILTER="r"), compression_type=kind, quantize_level=-0.0001
    )
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")
    cutout = read_cutout(tmp_path / "a.fits.fz")
    np.testing.assert_allclose(cutout.array[0], GREY, atol=2e-4)
    assert cutout.bands == ("r",)
    assert cutout.pixel_scale == pytest.approx(0.262)


def test_tile_compression_plio_of_integers(tmp_path: Path) -> None:
    integers = (1000 * make_profile()).astype(np.int16)
    hdu = fits.CompImageHDU(as_stored(integers), compression_type="PLIO_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")
    np.testing.assert_array_equal(read_cutout(tmp_path / "a.fits.fz").array[0], integers)


def test_scaled_integers(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(as_stored(GREY.astype(np.float64)))
    hdu.scale("int16", bzero=0.1, bscale=1e-5)
    hdu.writeto(tmp_path / "a.fits")
    raw = fits.getdata(tmp_path / "a.fits", do_not_scale_image_data=True)
    assert raw.dtype.kind == "i"
    np.testing.assert_allclose(read_cutout(tmp_path / "a.fits").array[0], GREY, atol=1e-5)


def test_blank_becomes_nan(tmp_path: Path) -> None:
    integers = np.arange(64, dtype=np.int16).reshape(8, 8)
    hdu = fits.PrimaryHDU(as_stored(integers))
    hdu.header["BLANK"] = 10
    hdu.writeto(tmp_path / "a.fits")
    array = read_cutout(tmp_path / "a.fits").array[0]
    assert np.isnan(array[1, 2])
    assert np.isfinite(array).sum() == 63


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("cards", [{"BZERO": 32768}, {"BZERO": 100, "BSCALE": 2}, {"BZERO": 7}])
@pytest.mark.parametrize("part", ["whole", "region"])
def test_blank_with_integer_bzero(
    tmp_path: Path, compressed: bool, cards: dict[str, int], part: str
) -> None:
    # As written by a camera: unsigned integers by BZERO = 32768, for which astropy ignores BLANK.
    stored = np.arange(-32, 32, dtype=np.int16).reshape(8, 8)
    header = make_header(BLANK=-22, CRPIX1=4.5, CRPIX2=4.5, **cards)
    if compressed:
        hdu = fits.CompImageHDU(stored, header, compression_type="RICE_1")
        hdus = fits.HDUList([fits.PrimaryHDU(), hdu])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(stored, header)])
    for card, value in {"BLANK": -22, **cards}.items():
        hdus[-1].header[card] = value
    hdus.writeto(tmp_path / "a.fits")
    options = ReadOptions(fov=8 * 0.262) if part == "region" else ReadOptions()
    array = read_cutout(tmp_path / "a.fits", options=options).array[0]
    expected = stored[::-1].astype(np.float32) * cards.get("BSCALE", 1) + cards["BZERO"]
    expected[stored[::-1] == -22] = np.nan
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_pixel_types_become_native_float32(tmp_path: Path, dtype: str) -> None:
    values = (200 * make_profile()).astype(dtype)
    cutout = read_cutout(write_fits(tmp_path / "a.fits", values))
    assert cutout.array.dtype == np.float32
    assert cutout.array.dtype.isnative and cutout.array.flags.c_contiguous
    np.testing.assert_array_equal(cutout.array[0], values.astype(np.float32))


def test_degenerate_axes(tmp_path: Path) -> None:
    cutout = read_cutout(write_fits(tmp_path / "a.fits", GREY[None, None], FILTER="r"))
    np.testing.assert_array_equal(cutout.array, GREY[None])
    cutout = read_cutout(write_fits(tmp_path / "b.fits", FLUX[:, None], BANDS="grz"))
    np.testing.assert_array_equal(cutout.array, FLUX)


@pytest.mark.parametrize("shape", [(64, 64, 1), (1, 64, 64, 1), (64, 1, 64), (64, 1, 64, 1)])
@pytest.mark.parametrize("compressed", [False, True])
def test_axes_of_length_one_anywhere(
    tmp_path: Path, shape: tuple[int, ...], compressed: bool
) -> None:
    header = fits.Header({"FILTER": "r"})
    for axis in range(1, len(shape) + 1):
        header[f"CTYPE{axis}"], header[f"CRPIX{axis}"] = f"FREQ{axis}", 1.0
        header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = 1.0, 1.0
    long = [len(shape) - n for n in reversed(range(len(shape))) if shape[n] > 1]
    for axis, kind, value in zip(long, ("RA---TAN", "DEC--TAN"), (150.1, 2.2), strict=True):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"] = kind, value
        header[f"CRPIX{axis}"], header[f"CDELT{axis}"] = 32.5, (axis - 1.5) * 0.2 / 3600
    data = as_stored(GREY).reshape(shape)
    hdu = fits.CompImageHDU(data, header) if compressed else fits.ImageHDU(data, header)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    np.testing.assert_allclose(cutout.array, GREY[None], atol=1e-2 if compressed else 0)
    assert (cutout.ra, cutout.dec) == pytest.approx((150.1, 2.2), abs=1e-9)
    options = ReadOptions(center=(cutout.ra, cutout.dec), fov=10 * cutout.pixel_scale)
    part = read_cutout(tmp_path / "a.fits", options=options)
    np.testing.assert_array_equal(part.array, cutout.array[:, 27:37, 27:37])


@pytest.mark.parametrize(
    ("cards", "plane"),
    [
        ({"CRPIX3": 1.0, "CRVAL3": 1.0, "CDELT3": 1.0}, 0),
        ({"CRPIX3": 1.0, "CRVAL3": -1.0, "CDELT3": 1.0}, 2),
        ({"CRPIX3": 3.0, "CRVAL3": 1.0, "CDELT3": 1.0}, 2),
        ({}, 0),
    ],
)
@pytest.mark.parametrize("part", ["whole", "region"])
def test_of_polarizations_the_intensity_is_taken(
    tmp_path: Path, cards: dict[str, float], plane: int, part: str
) -> None:
    write_fits(tmp_path / "a.fits", FLUX[:, None], CTYPE3="FREQ", CTYPE4="STOKES")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[0].header.update({key.replace("3", "4"): value for key, value in cards.items()})
    options = ReadOptions(fov=64 * 0.262) if part == "region" else ReadOptions()
    cutout = read_cutout(tmp_path / "a.fits", options=options)
    np.testing.assert_array_equal(cutout.array, FLUX[plane][None])
    assert cutout.notes["polarization"] == "Stokes I"


def test_a_series_in_time_is_called_so(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", FLUX, CTYPE3="UTC")
    with pytest.raises(BandError, match=r"a\.fits: a series of 3 images in time .CTYPE3 = 'UTC'"):
        read_cutout(tmp_path / "a.fits")
    write_fits(tmp_path / "b.fits", FLUX[:, None], CTYPE3="FREQ", CTYPE4="TIME")
    with pytest.raises(BandError, match=r"b\.fits: a series of 3 images in time .CTYPE4"):
        read_cutout(tmp_path / "b.fits")


@pytest.mark.parametrize("value", ["TOP-DOWN", "top-down ", "BOTTOM-UP"])
def test_the_order_of_rows_is_obeyed(tmp_path: Path, value: str) -> None:
    marked = np.zeros((8, 8), dtype=np.float32)
    marked[0, :] = 1  # row 0 of the file
    header = make_header(ROWORDER=value, CRPIX1=4.5, CRPIX2=4.5)
    fits.PrimaryHDU(marked, header).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    upside_down = value == "BOTTOM-UP"
    assert cutout.array[0, -1 if upside_down else 0].all()
    turned = "north up, east left" if upside_down else "top at position angle 180 deg, mirrored"
    assert cutout.notes["orientation"] == turned


@pytest.mark.parametrize("part", ["whole", "region"])
def test_asinh_magnitudes_become_counts(tmp_path: Path, part: str) -> None:
    soft, offset = 0.2, 0.5
    counts = (1000 * FLUX[1]).astype(np.float64)
    stored = 2.5 / np.log(10) * np.arcsinh((counts - offset) / (2 * soft))
    write_fits(
        tmp_path / "a.fits", stored.astype("f4"), BSOFTEN=soft, BOFFSET=offset, FILTER="r.00000"
    )
    options = ReadOptions(fov=64 * 0.262) if part == "region" else ReadOptions()
    cutout = read_cutout(tmp_path / "a.fits", options=options)
    np.testing.assert_allclose(cutout.array[0], counts, rtol=1e-4, atol=1e-4)
    assert cutout.bands == ("r",)
    assert "BSOFTEN" in cutout.notes["counts"]
    held = CCDData(stored[::-1], unit="adu", meta={"BSOFTEN": soft, "BOFFSET": offset})
    np.testing.assert_allclose(read_cutout(held).array[0], counts, rtol=1e-4, atol=1e-4)
    for cards in ({"BSOFTEN": soft}, {"BOFFSET": offset}, {"BSOFTEN": 0.0, "BOFFSET": 1.0}):
        linear = write_fits(tmp_path / "b.fits", FLUX[1], **cards)
        np.testing.assert_array_equal(read_cutout(linear).array[0], FLUX[1])


def test_four_real_axes_are_refused(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", np.zeros((2, 3, 8, 8), dtype=np.float32))
    with pytest.raises(UnsupportedImageError, match=r"a\.fits: no HDU|4 axes"):
        read_cutout(tmp_path / "a.fits")


def test_one_band_per_extension(tmp_path: Path) -> None:
    images = [
        fits.ImageHDU(as_stored(plane), make_header(FILTER=band))
        for band, plane in zip("grz", FLUX, strict=True)
    ]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    assert cutout.bands == ("g", "r", "z")
    np.testing.assert_array_equal(cutout.array, FLUX)


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        ("grz", "grz"),
        ("rz", "rz"),
        ("ugriz", "ugriz"),
        (("G", "R", "MASK"), "gr"),
        (("B", "V", "R"), "BVR"),
        (("V", "R", "I"), "VRI"),
        (("R", "I"), "RI"),
        (("Z", "Y", "J"), "ZYJ"),
    ],
)
def test_names_of_extensions_are_written_in_capitals(
    tmp_path: Path, names: Sequence[str], bands: str
) -> None:
    images = [fits.ImageHDU(as_stored(FLUX[0]), name=name) for name in names]
    assert [hdu.name for hdu in images] == [name.upper() for name in names]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    assert read_cutout(tmp_path / "a.fits").bands == tuple(bands)


@pytest.mark.parametrize("part", ["whole", "region"])
def test_zero_point_and_unit_of_each_extension(tmp_path: Path, part: str) -> None:
    cards = [{"BUNIT": "adu", "MAGZPT": 25.0}, {"BUNIT": "uJy"}, {"BUNIT": "nanomaggy"}]
    scales = np.array([10.0, 3.631, 1.0], dtype=np.float32)[:, None, None]
    path = write_bands(tmp_path / "a.fits", cards, FLUX * scales)
    options = ReadOptions(fov=64 * 0.262) if part == "region" else ReadOptions()
    cutout = read_cutout(path, options=options)
    np.testing.assert_allclose(cutout.array, 10 * FLUX, rtol=1e-5)
    assert (cutout.unit, cutout.notes["zeropoint"]) == ("adu", "25.0")
    assert cutout.notes["band_factors"].startswith("1,2.754")
    chosen = read_cutout(path, options=ReadOptions(bands=("z", "r")))
    np.testing.assert_allclose(chosen.array, FLUX[[2, 1]], rtol=1e-5)
    assert chosen.unit == "nanomaggy"
    assert "zeropoint" not in chosen.notes


@pytest.mark.parametrize("bare", [0, 1])
def test_bands_without_cards_get_those_of_the_others(tmp_path: Path, bare: int) -> None:
    cards: list[dict[str, Any]] = [{"BUNIT": "nJy", "MAGZERO": 31.4}] * 3
    cards[bare] = {}
    cutout = read_cutout(write_bands(tmp_path / "a.fits", cards))
    assert (cutout.unit, cutout.notes["zeropoint"]) == ("nJy", "31.4")
    assert cutout.notes["uncalibrated"] == str(bare + 1)
    np.testing.assert_array_equal(cutout.array, FLUX)


def test_equal_zero_points_leave_the_pixels_alone(tmp_path: Path) -> None:
    cutout = read_cutout(write_bands(tmp_path / "a.fits", [{"MAGZERO": 30.0}] * 3))
    np.testing.assert_array_equal(cutout.array, FLUX)
    assert "band_factors" not in cutout.notes


def test_extensions_that_cannot_be_compared(tmp_path: Path) -> None:
    known = {"MAGZERO": 30.0, "BUNIT": "adu"}
    path = write_bands(tmp_path / "a.fits", [known, known, {"BUNIT": "electron"}])
    with pytest.raises(BandError, match=r"a\.fits: HDU 3: .*no zero point.*HDU 1"):
        read_cutout(path)
    assert read_cutout(path, options=ReadOptions(bands=("g", "r"))).bands == ("g", "r")


def test_own_zero_point_goes_before_that_of_the_primary(tmp_path: Path) -> None:
    path = write_bands(tmp_path / "a.fits", [{}, {"MAGZPT": 25.0}, {}])
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["MAGZERO"] = 22.5
    cutout = read_cutout(path)
    assert cutout.notes["zeropoint"] == "22.5"
    np.testing.assert_allclose(cutout.array[1], FLUX[1] / 10, rtol=1e-5)
    np.testing.assert_array_equal(cutout.array[[0, 2]], FLUX[[0, 2]])


def test_science_error_and_mask_extensions_are_not_bands(tmp_path: Path) -> None:
    images = [
        fits.ImageHDU(as_stored(GREY), make_header(FILTER="r"), name=name)
        for name in ("SCI", "ERR", "DQ")
    ]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    assert cutout.bands == ("r",)
    assert cutout.notes["hdu"] == "1 (SCI)"


def test_chosen_hdus_are_stacked(tmp_path: Path) -> None:
    images = [fits.ImageHDU(as_stored(plane), name=f"B{n}") for n, plane in enumerate(FLUX)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    options = ReadOptions(hdu=("B2", 1), bands=("z", "g"))
    np.testing.assert_array_equal(
        read_cutout(tmp_path / "a.fits", options=options).array, FLUX[[2, 0]]
    )


@pytest.mark.parametrize(
    "cards",
    [
        {"BANDS": "grz"},
        {"BANDS": "g, r, z"},
        {"BAND0": "g", "BAND1": "r", "BAND2": "z"},
        {"BAND1": "g", "BAND2": "r", "BAND3": "z"},
        {"FILTER1": "g", "FILTER2": "r", "FILTER3": "z"},
        {"FILTER": "grz"},
        {"FILTER": "g,r,z"},
        {"CTYPE3": "GRZ"},
    ],
)
def test_band_names_from_the_header(tmp_path: Path, cards: dict[str, str]) -> None:
    cutout = read_cutout(write_fits(tmp_path / "a.fits", FLUX, **cards))
    assert cutout.bands == ("g", "r", "z")


def test_band_names_are_never_guessed(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", FLUX)
    with pytest.raises(BandError, match=r"a\.fits: 3 planes without band names.*--bands g,r,z"):
        read_cutout(tmp_path / "a.fits")
    options = ReadOptions(bands=("g", "r", "i"))
    assert read_cutout(tmp_path / "a.fits", options=options).bands == ("g", "r", "i")


def test_too_few_band_names_are_not_called_absent(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", FLUX, BANDS="gr")
    with pytest.raises(BandError, match=r"3 planes without band names \(not as many in BANDS"):
        read_cutout(tmp_path / "a.fits")


def test_an_image_in_magnitudes_is_refused(tmp_path: Path) -> None:
    """The sky would be its brightest part."""
    write_fits(tmp_path / "a.fits", FLUX, BANDS="grz", BUNIT="mag/arcsec2")
    cutout = read_cutout(tmp_path / "a.fits")
    with pytest.raises(UnsupportedImageError, match=r"a\.fits: its pixels are magnitudes"):
        render(cutout)
    render(cutout, options=RenderOptions(zeropoint=22.5))  # the header is wrong, says the user
    rgb = (FLUX - FLUX.min()) / np.ptp(FLUX) * 255
    write_fits(tmp_path / "b.fits", rgb.astype(np.uint8), CTYPE3="RGB", BUNIT="mag")
    assert render(read_cutout(tmp_path / "b.fits")).kind == "rendered"


@pytest.mark.parametrize("units", [("nanomaggy", "mag"), ("mag", "nanomaggy"), ("mag", "adu")])
def test_magnitudes_beside_flux_are_refused(tmp_path: Path, units: tuple[str, str]) -> None:
    """A zero point does not make flux of them."""
    hdus = [fits.PrimaryHDU()]
    for name, unit in zip("gr", units, strict=True):
        hdus.append(fits.ImageHDU(GREY, make_header(BUNIT=unit, FILTER=name, MAGZERO=22.5)))
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    with pytest.raises(BandError, match="cannot be brought"):
        read_cutout(tmp_path / "a.fits")


def test_magnitudes_in_a_band_that_is_left_out(tmp_path: Path) -> None:
    hdus = [fits.PrimaryHDU()]
    for name, unit in (("g", "nanomaggy"), ("r", "nanomaggy"), ("z", "mag")):
        hdus.append(fits.ImageHDU(GREY, make_header(BUNIT=unit, FILTER=name)))
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits", options=ReadOptions(bands=("g", "r")))
    assert render(cutout).kind == "rendered"


def test_what_a_file_has_instead_of_an_image(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.arange(10.0)).writeto(tmp_path / "a.fits")
    with pytest.raises(UnsupportedImageError, match="the file has HDU 0: 10 values in a row"):
        read_cutout(tmp_path / "a.fits")


def test_bands_choose_and_order_named_planes(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", FLUX, BANDS="grz")
    cutout = read_cutout(tmp_path / "a.fits", options=ReadOptions(bands=("z", "g")))
    np.testing.assert_array_equal(cutout.array, FLUX[[2, 0]])
    with pytest.raises(BandError, match="no band i; the file has g, r, z"):
        read_cutout(tmp_path / "a.fits", options=ReadOptions(bands=("g", "i")))


def test_rgb_fits_is_rendered(tmp_path: Path) -> None:
    planes = np.moveaxis(make_rgb(), 2, 0)
    cutout = read_cutout(write_fits(tmp_path / "a.fits", planes, CTYPE3="RGB"))
    assert (cutout.kind, cutout.bands) == ("rendered", ("red", "green", "blue"))
    np.testing.assert_array_equal(cutout.array, planes)
    assert cutout.flags == Flags.NONE


def test_unnamed_eight_bit_planes_are_taken_for_rgb_and_flagged(tmp_path: Path) -> None:
    planes = np.moveaxis(make_rgb(), 2, 0)
    cutout = read_cutout(write_fits(tmp_path / "a.fits", planes))
    assert cutout.kind == "rendered"
    assert cutout.flags & Flags.ASSUMED_STRETCH
    assert "red, green, blue" in cutout.notes["bands"]


def test_rgb_with_the_colour_axis_first_in_naxis(tmp_path: Path) -> None:
    pixels = make_rgb()
    fits.PrimaryHDU(np.ascontiguousarray(pixels[::-1])).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(read_cutout(tmp_path / "a.fits").array, pixels.transpose(2, 0, 1))


def test_survey_unit_and_zeropoint(tmp_path: Path) -> None:
    path = write_fits(
        tmp_path / "a.fits", FLUX, BANDS="grz", SURVEY="DECaLS", BUNIT="nanomaggies", MAGZERO=22.5
    )
    cutout = read_cutout(path)
    assert (cutout.survey, cutout.unit) == ("legacysurvey", "nanomaggy")
    assert float(cutout.notes["zeropoint"]) == 22.5


def test_keywords_are_inherited_from_the_primary(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU()
    primary.header["SURVEY"], primary.header["BANDS"] = "LegacySurvey", "grz"
    image = fits.ImageHDU(as_stored(FLUX))
    fits.HDUList([primary, image]).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    assert (cutout.survey, cutout.bands) == ("legacysurvey", ("g", "r", "z"))


def test_header_that_claims_too_much_is_refused_unread(tmp_path: Path) -> None:
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, 2
    header["NAXIS1"], header["NAXIS2"] = 100_000, 100_000
    (tmp_path / "a.fits").write_bytes(header.tostring().encode() + bytes(2880))
    with pytest.raises(ImageTooLargeError, match="NAXIS 100000 x 100000 is more than max_pixels"):
        read_cutout(tmp_path / "a.fits")


def test_truncated_fits(tmp_path: Path) -> None:
    path = write_fits(tmp_path / "a.fits", FLUX, BANDS="grz")
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(UnreadableImageError, match=r"a\.fits: the FITS is damaged or cut short"):
        read_cutout(path)


def test_header_without_end(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =                    T".ljust(80) * 1000)
    with pytest.raises(UnreadableImageError, match="no END card"):
        read_cutout(tmp_path / "a.fits")


def test_center_and_fov_cut_a_part(tmp_path: Path) -> None:
    cutout = read_cutout(write_fits(tmp_path / "a.fits", FLUX, BANDS="grz"))
    options = ReadOptions(center=(150.1, 2.2), fov=32 * 0.262)
    part = read_cutout(tmp_path / "a.fits", options=options)
    np.testing.assert_array_equal(part.array, cutout.array[:, 16:48, 16:48])
    assert (part.ra, part.dec) == pytest.approx((150.1, 2.2), abs=1e-9)
    assert part.flags == Flags.NONE


def test_center_needs_a_wcs(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a.jpg")
    hdu = fits.PrimaryHDU(GREY)
    hdu.header["FILTER"] = "r"
    hdu.writeto(tmp_path / "b.fits")
    for name in ("a.jpg", "b.fits"):
        for options in (ReadOptions(center=(10.0, 5.0), fov=3.0), ReadOptions(center=(10.0, 5.0))):
            with pytest.raises(UnsupportedImageError, match=rf"{name}: no WCS, so "):
                read_cutout(tmp_path / name, options=options)
    with pytest.raises(UnsupportedImageError, match="no WCS, so "):
        read_cutout(make_rgb(), options=ReadOptions(center=(10.0, 5.0)))


def test_field_of_view_beyond_the_frame_is_padded(tmp_path: Path) -> None:
    cutout = read_cutout(write_fits(tmp_path / "a.fits", FLUX, BANDS="grz"))
    part = read_cutout(tmp_path / "a.fits", options=ReadOptions(fov=80 * 0.262))
    assert part.array.shape == (3, 80, 80)
    assert part.flags & Flags.PADDED
    np.testing.assert_array_equal(part.array[:, 8:72, 8:72], cutout.array)
    np.testing.assert_allclose(part.array[:, 0, 0], np.median(FLUX, axis=(1, 2)))


@pytest.mark.realdata
def test_every_survey_file_is_read(realdata: Path) -> None:
    found = {path.name: read_cutout(path) for path in sorted((realdata / "fits").glob("*.f*"))}
    assert found["example_a.fits"].array.shape == (3, 424, 424)
    packed = found["NGC2893-largegalaxy-image-g.fits.fz"]
    assert (packed.bands, packed.survey) == (("g",), "legacysurvey")
    assert (packed.ra, packed.dec) == pytest.approx((142.5705285, 29.5400317), abs=1e-7)
    odd = found["sdss_r_plate0270.fit"]
    assert (odd.bands, odd.unit, odd.survey) == (("r",), "nanomaggy", "sdss")
    assert int(np.isnan(odd.array).sum()) == 6656
    assert odd.pixel_scale == pytest.approx(0.396, abs=0.001)


def test_the_order_of_rows_holds_for_masks_too() -> None:
    values = np.arange(64, dtype=np.int16).reshape(8, 8)
    mask = np.zeros((8, 8), dtype=bool)
    mask[0] = True
    for order, row in (("TOP-DOWN", 0), ("BOTTOM-UP", -1)):
        ccd = CCDData(values, unit="adu", mask=mask, meta={"ROWORDER": order})
        cutout = read_cutout(ccd)
        assert cutout.bad is not None
        assert cutout.bad[row].all() and cutout.bad.sum() == 8
        np.testing.assert_array_equal(cutout.array[0, row], values[0])
