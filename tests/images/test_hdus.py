"""FITS of many extensions: which are the image, its bands, other galaxies, or nothing of these."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from synthetic import as_stored, make_flux, make_header, write_bands, write_fits, write_jpeg

from galmorph.errors import BandError, UnreadableImageError, UnsupportedImageError
from galmorph.images.ahead import list_hdus
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.read import read_cutout
from galmorph.preprocessing.render import render
from galmorph.settings import ReadOptions

FLUX = make_flux()
GREY = FLUX[1]


def make_galaxies(*names: str, planes: Any = FLUX, **cards: Any) -> fits.HDUList:
    """An empty primary HDU and one image per name."""
    images = [fits.ImageHDU(as_stored(planes), make_header(**cards), name=name) for name in names]
    return fits.HDUList([fits.PrimaryHDU(), *images])


@pytest.mark.parametrize(
    ("names", "planes", "cards", "left"),
    [
        (
            ("GAL0", "GAL1", "GAL2"),
            FLUX,
            {"BANDS": "grz"},
            "of 3 taken; not read: 2 (GAL1), 3 (GAL2)",
        ),
        (("SCI", "SCI"), GREY, {}, "of 2 taken; not read: 2 (SCI)"),
        (("SCI", "ERR", "SCI", "ERR"), GREY, {"FILTER": "r"}, "of 2 taken; not read: 3 (SCI)"),
        (
            ("A", "B", "C", "D", "E"),
            GREY,
            {},
            "of 5 taken; not read: 2 (B), 3 (C), 4 (D) and 1 more",
        ),
        (("SCI", "FOOTPRINT", "INVVAR"), GREY, {}, None),
        (("SCI", "ERR", "WHT", "RMS_R"), GREY, {"FILTER": "r"}, None),
        (("IMAGE", "INVVAR", "EXPTIME", "MASK"), FLUX, {"BANDS": "grz"}, None),
        (("G", "R", "Z"), GREY, {}, None),
    ],
)
def test_more_images_than_one_are_noted(
    tmp_path: Path, names: Sequence[str], planes: Any, cards: dict[str, str], left: str | None
) -> None:
    make_galaxies(*names, planes=planes, **cards).writeto(tmp_path / "a.fits")
    note = read_cutout(tmp_path / "a.fits").notes.get("more_images")
    if left is None:
        assert note is None
    else:
        assert note == f"1 ({names[0]}) {left}, see --hdu each"
    chosen = read_cutout(tmp_path / "a.fits", options=ReadOptions(hdu=1, bands=None))
    assert "more_images" not in chosen.notes


def test_images_of_another_kind_are_not_noted(tmp_path: Path) -> None:
    hdus = make_galaxies("SCI", planes=GREY)
    hdus.append(fits.ImageHDU(as_stored(GREY), name="SCI"))
    hdus.append(fits.ImageHDU((GREY > 0).astype(np.int16)))  # a mask without a name
    hdus.append(fits.ImageHDU(as_stored(FLUX), name="CUBE"))
    hdus.append(fits.ImageHDU(GREY[:32, :32], name="SCI"))  # of another size
    hdus.append(fits.ImageHDU(GREY[:32, :32], name="SOMETHING"))
    hdus.writeto(tmp_path / "a.fits")
    note = read_cutout(tmp_path / "a.fits").notes["more_images"]
    assert note.startswith("1 (SCI) of 3 taken; not read: 2 (SCI), 5 (SCI), see")


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        (
            {"CRVAL1": 151.0},
            r"HDU 1 and HDU 2 show different parts of the sky: centres 3238 arcsec",
        ),
        ({"CRPIX1": 34.5}, "centres 0.524 arcsec apart"),
    ],
)
def test_bands_of_one_file_that_show_different_sky(
    tmp_path: Path, cards: dict[str, float], said: str
) -> None:
    path = write_bands(tmp_path / "a.fits", [{}, cards, {}])
    with pytest.raises(UnsupportedImageError, match=said):
        read_cutout(path)
    assert read_cutout(path, options=ReadOptions(bands=("g", "z"))).bands == ("g", "z")
    with pytest.raises(UnsupportedImageError, match=said):
        read_cutout(path, options=ReadOptions(hdu=(1, 2)))


def test_bands_of_one_file_that_show_the_same_sky(tmp_path: Path) -> None:
    same = {"CRPIX1": 33.5, "CRVAL1": 150.1 - 0.262 / 3600 / np.cos(np.radians(2.2))}
    path = write_bands(tmp_path / "a.fits", [{}, {"CRPIX1": 33.0}, same])
    assert read_cutout(path).bands == ("g", "r", "z")


@pytest.mark.parametrize("key", ["MAGZPT", "ZP", "PHOTZP"])
def test_every_zero_point_of_the_primary_is_inherited(tmp_path: Path, key: str) -> None:
    hdus = make_galaxies("SCI", "OTHER", FILTER="r", planes=GREY)
    hdus[0].header[key] = 24.5
    hdus[2].header["MAGZERO"] = 30.0
    hdus.writeto(tmp_path / "a.fits")
    assert read_cutout(tmp_path / "a.fits").notes["zeropoint"] == "24.5"
    own = read_cutout(tmp_path / "a.fits", options=ReadOptions(hdu=2))
    assert own.notes["zeropoint"] == "30.0"


def test_where_the_telescope_pointed_is_no_position_of_an_extension(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU()
    primary.header["RA"], primary.header["DEC"] = 33.25, -5.5
    images = [fits.ImageHDU(as_stored(GREY)), fits.ImageHDU(as_stored(GREY), make_header())]
    fits.HDUList([primary, *images]).writeto(tmp_path / "a.fits")
    assert np.isnan(read_cutout(tmp_path / "a.fits").ra)
    (tmp_path / "a.fits").rename(tmp_path / "J093000.00+021500.0.fits")
    named = read_cutout(tmp_path / "J093000.00+021500.0.fits")
    assert (named.ra, named.dec) == pytest.approx((142.5, 2.25))
    (tmp_path / "J093000.00+021500.0.fits").rename(tmp_path / "a.fits")
    with_wcs = read_cutout(tmp_path / "a.fits", options=ReadOptions(hdu=2))
    assert with_wcs.ra == pytest.approx(150.1)


@pytest.mark.parametrize(
    ("settings", "rounded"),
    [
        ({"quantize_level": 4, "quantize_method": -1}, True),
        ({"quantize_level": 4, "quantize_method": 1}, False),
        ({"quantize_level": 4, "quantize_method": 2}, False),
        ({"quantize_level": 0, "compression_type": "GZIP_1"}, False),
    ],
)
def test_zeros_that_compression_made_are_no_gaps(
    tmp_path: Path, settings: dict[str, Any], rounded: bool
) -> None:
    header = make_header(BANDS="grz", SURVEY="LegacySurvey")
    flux = FLUX.copy()
    flux[:, 40:42, 3:5] = 0
    hdu = fits.CompImageHDU(as_stored(flux), header, **settings)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")
    cutout = read_cutout(tmp_path / "a.fits.fz")
    assert ("zeros" in cutout.notes) == rounded
    if rounded:
        assert (cutout.array == 0).sum() > 500
        assert "bad_pixels" not in render(cutout).notes
    if settings["quantize_level"] == 0 or settings["quantize_method"] == 2:
        assert render(cutout).notes["bad_pixels"] == "4"


def test_zeros_in_memory_are_no_matter_of_compression() -> None:
    hdu = fits.CompImageHDU(FLUX, make_header(BANDS="grz"), quantize_level=4)
    assert "zeros" not in read_cutout(fits.HDUList([fits.PrimaryHDU(), hdu])).notes


@pytest.mark.parametrize("axis", ["WAVE", "FREQ", "VELO-LSR", "AWAV"])
def test_spectral_cubes_are_called_so(tmp_path: Path, axis: str) -> None:
    cube = np.zeros((40, 8, 8), dtype=np.float32)
    path = write_fits(tmp_path / "a.fits", cube, CTYPE3=axis)
    with pytest.raises(BandError, match=rf"a\.fits: a spectral cube of 40 planes .*'{axis}'"):
        read_cutout(path)
    few = write_fits(tmp_path / "b.fits", FLUX, CTYPE3=axis)
    assert read_cutout(few, options=ReadOptions(bands=("g", "r", "z"))).bands == ("g", "r", "z")


def test_band_names_without_commas(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", FLUX)
    with pytest.raises(BandError, match="1 band names .grz. for 3 planes; .* as in g,r,z"):
        read_cutout(tmp_path / "a.fits", options=ReadOptions(bands=("grz",)))
    with pytest.raises(BandError, match=r"1 band names \(g\) for 3 planes$"):
        read_cutout(tmp_path / "a.fits", options=ReadOptions(bands=("g",)))


def test_a_table_is_told_from_other_things(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])], name="CAT")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    said = r"HDU 0: no data, HDU 1 \(CAT\): table \(a catalogue\? give it with --catalogue FILE"
    with pytest.raises(UnsupportedImageError, match=said):
        read_cutout(tmp_path / "a.fits")


@pytest.mark.parametrize("bands", ["grz", "GRZ", "HSC-G HSC-R HSC-Z"])
def test_bands_given_in_other_letters(tmp_path: Path, bands: str) -> None:
    names = tuple(bands.split() if " " in bands else bands)
    turned = (names[2], names[0])
    write_fits(tmp_path / "a.fits", FLUX)
    assert read_cutout(tmp_path / "a.fits", options=ReadOptions(bands=names)).bands == tuple("grz")
    write_fits(tmp_path / "b.fits", FLUX, BANDS="grz")
    chosen = read_cutout(tmp_path / "b.fits", options=ReadOptions(bands=turned))
    assert chosen.bands == ("z", "g")
    np.testing.assert_array_equal(chosen.array, FLUX[[2, 0]])
    with_capitals = write_fits(tmp_path / "c.fits", FLUX, BAND1="G", BAND2="R", BAND3="Z")
    assert read_cutout(with_capitals).bands == ("g", "r", "z")


def test_bands_of_unknown_wavelength_keep_the_order_given(tmp_path: Path) -> None:
    path = write_fits(tmp_path / "a.fits", FLUX, BAND1="one", BAND2="two", BAND3="three")
    with pytest.raises(BandError, match="the wavelength of one, two, three is not known"):
        render(read_cutout(path))
    options = ReadOptions(bands=("three", "one", "two"))
    given = read_cutout(path, options=options)
    assert given.notes["band_order"] == "as given"
    known = read_cutout(FLUX[[2, 0, 1]], options=ReadOptions(bands=("g", "r", "z")))
    np.testing.assert_array_equal(render(given).array, render(known).array)
    assert render(given).notes["bands"] == "three,one,two"


def test_extensions_named_by_galaxies_and_weights_are_no_bands(tmp_path: Path) -> None:
    make_galaxies("J0912", "J1023", "J0843", planes=GREY).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    assert (cutout.array.shape[0], cutout.bands) == (1, ("unknown",))
    assert "J1023" in cutout.notes["more_images"]
    make_galaxies("I", "W", planes=GREY).writeto(tmp_path / "b.fits")
    assert read_cutout(tmp_path / "b.fits").array.shape[0] == 1


def test_a_damaged_header_after_the_image_is_no_matter(tmp_path: Path) -> None:
    make_galaxies("SCI", "SCI", planes=GREY).writeto(tmp_path / "a.fits")
    data = (tmp_path / "a.fits").read_bytes()
    place = data.rindex(b"NAXIS1  =")
    (tmp_path / "a.fits").write_bytes(data[:place] + b"NAXISX  =" + data[place + 9 :])
    assert read_cutout(tmp_path / "a.fits").array.shape == (1, *GREY.shape)


def write_hdus(path: Path, *kinds: dict[str, Any]) -> Path:
    """An HDU per dict: pixels as "data", all else as cards; the first is the primary one."""
    hdus = [fits.PrimaryHDU(kinds[0].get("data"))]
    hdus += [fits.ImageHDU(kind.get("data")) for kind in kinds[1:]]
    for hdu, kind in zip(hdus, kinds, strict=True):
        hdu.header.update({key: value for key, value in kind.items() if key != "data"})
    fits.HDUList(hdus).writeto(path)
    return path


IMAGE, WHOLE = as_stored(GREY), (GREY > 0.01).astype("i4")
SMALL = as_stored(GREY[:16, :16])


def named(name: str) -> dict[str, Any]:
    return {"data": IMAGE, "EXTNAME": name}


@pytest.mark.parametrize(
    ("kinds", "hdu"),
    [
        ([{}, {"data": IMAGE, "EXTNAME": "WEIGHT"}, {"data": IMAGE, "EXTNAME": "SCI"}], "2 (SCI)"),
        ([{}, {"data": SMALL, "EXTNAME": "PSF"}, {"data": IMAGE, "EXTNAME": "IMAGE"}], "2 (IMAGE)"),
        ([{}, {"data": WHOLE, "EXTNAME": "SEGMAP"}, {"data": IMAGE}], "2"),
        ([{"data": IMAGE, "EXTNAME": "MASK"}, {"data": IMAGE, "EXTNAME": "DATA"}], "1 (DATA)"),
        ([{"data": IMAGE[:2, :2]}, {"data": IMAGE}], "1"),
        ([{"data": SMALL}, {"data": IMAGE, "EXTNAME": "SCI"}], "1 (SCI)"),
        ([{"data": IMAGE}, {"data": IMAGE, "EXTNAME": "COADD"}], "1 (COADD)"),
        ([{"data": IMAGE}, {"data": IMAGE, "EXTNAME": "FOOTPRINT"}], "0"),
        ([{}, {"data": WHOLE, "EXTTYPE": "MASK"}, {"data": IMAGE, "EXTTYPE": "IMAGE"}], "2"),
        ([{}, {"data": IMAGE, "IMTYPE": "invvar"}, {"data": IMAGE, "IMTYPE": "image"}], "2"),
        ([{}, {"data": IMAGE, "IMAGETYP": "weight"}, {"data": IMAGE, "IMAGETYP": "object"}], "2"),
        ([{"data": IMAGE, "IMAGETYP": "EXPOSURE"}, {"data": WHOLE}], "0"),
        ([{}, {"data": IMAGE, "HDUCLAS2": "ERROR"}, {"data": IMAGE, "HDUCLAS2": "DATA"}], "2"),
        (
            [{}, {"data": IMAGE, "EXTNAME": "SKY_SUBTRACTED"}, {"data": IMAGE, "EXTNAME": "SKY"}],
            "1 (SKY_SUBTRACTED)",
        ),
        (
            [{}, {"data": IMAGE, "EXTNAME": "BKGSUB"}, {"data": IMAGE, "EXTNAME": "BKG"}],
            "1 (BKGSUB)",
        ),
        ([{}, {"data": IMAGE, "EXTNAME": "CONTEXT"}, {"data": IMAGE, "EXTNAME": "GAL"}], "2 (GAL)"),
        (
            [{}, {"data": IMAGE, "EXTNAME": "NOISE_MAP"}, {"data": IMAGE, "EXTNAME": "M31"}],
            "2 (M31)",
        ),
    ],
)
def test_what_is_no_galaxy_is_passed_over(
    tmp_path: Path, kinds: list[dict[str, Any]], hdu: str
) -> None:
    notes = read_cutout(write_hdus(tmp_path / "a.fits", *kinds)).notes
    assert notes["hdu"] == hdu
    assert "more_images" not in notes and "message" not in notes


def test_a_mask_alone_is_read_and_said(tmp_path: Path) -> None:
    path = write_hdus(tmp_path / "a.fits", {}, {"data": IMAGE, "EXTNAME": "MASK"})
    cutout = read_cutout(path)
    np.testing.assert_array_equal(cutout.array[0], GREY)
    assert "HDU 1 (MASK) is no image of a galaxy by its name" in cutout.notes["message"]


def test_bands_beside_their_variances(tmp_path: Path) -> None:
    kinds = [
        {"data": IMAGE * factor, "BAND": band, "IMTYPE": kind}
        for band in "grz"
        for factor, kind in ((2, "invvar"), (1, "image"))
    ]
    cutout = read_cutout(write_hdus(tmp_path / "a.fits", {}, *kinds))
    assert (cutout.bands, cutout.notes["hdu"]) == (("g", "r", "z"), "2, 4, 6")
    np.testing.assert_array_equal(cutout.array, np.stack([GREY] * 3))
    assert "more_images" not in cutout.notes


def test_galaxies_of_unequal_size_are_counted(tmp_path: Path) -> None:
    kinds = [{"data": IMAGE[:side, :side]} for side in (40, 64, 50, 20)]
    note = read_cutout(write_hdus(tmp_path / "a.fits", *kinds)).notes["more_images"]
    assert note == "0 of 4 taken; not read: 1, 2, 3, see --hdu each"


GALLERY = [{"data": (IMAGE * side)[:side, :side]} for side in (60, 20, 64, 30, 50)]


def list_rows(path: object, **options: Any) -> list[Any]:
    return [read_cutout(source, **options) for source in discover_sources(path)]  # type: ignore[arg-type]


@pytest.mark.parametrize("packed", [False, True])
def test_a_row_for_each_hdu(tmp_path: Path, packed: bool) -> None:
    path = write_hdus(tmp_path / "a.fits", *GALLERY, named("WEIGHT"), {"data": IMAGE[:2, :2]})
    if packed:
        path = tmp_path / "a.fits.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    sources = list(list_hdus(discover_sources(path)))
    assert [source.object_id for source in sources] == [f"a_{n}" for n in range(5)]
    for n, source in enumerate(sources):
        assert source.address == f"{path}[{n}]"
        assert source.read_head(2) == path.read_bytes()[:2]
        again = list_rows(source.address)
        for cutout in (read_cutout(source, options=ReadOptions(hdu="each")), *again):
            np.testing.assert_array_equal(cutout.array[0], GALLERY[n]["data"][::-1])
            assert (cutout.object_id, cutout.path) == (f"a_{n}", source.address)
            assert "more_images" not in cutout.notes


def test_each_hdu_is_named_where_names_tell_them_apart(tmp_path: Path) -> None:
    write_hdus(tmp_path / "a.fits", {}, named("NGC 1"), named("MASK"), named("NGC 2"))
    write_hdus(tmp_path / "b.fits", {"data": IMAGE})
    write_jpeg(tmp_path / "c.jpg")
    (tmp_path / "d.fits").write_bytes(b"SIMPLE")
    found = list(list_hdus(discover_sources(tmp_path)))
    assert [source.object_id for source in found] == ["a_NGC 1", "a_NGC 2", "b", "c", "d"]
    assert found[1].address.endswith("a.fits[3]")


@pytest.mark.parametrize(
    ("address", "hdu", "factor"),
    [
        ("[SCI]", "SCI", 1), ("[sci]", "sci", 1), ("[1]", "1", 1), ("[SCI,2]", "SCI,2", 3),
        ("[SCI, 2]", "SCI, 2", 3), ("[ERR]", "ERR", 2), ("[3]", "3", 3), ("[0]", "0", None),
        ("[WHT]", "WHT", None), ("[9]", "9", None),
    ],
)  # fmt: skip
def test_hdus_by_the_brackets_of_cfitsio(
    tmp_path: Path, address: str, hdu: str, factor: int | None
) -> None:
    path = write_hdus(
        tmp_path / "x.fits", {}, named("SCI"), named("ERR") | {"data": 2 * IMAGE},
        {"data": 3 * IMAGE, "EXTNAME": "SCI", "EXTVER": 2},
    )  # fmt: skip
    (source,) = discover_sources(f"{path}{address}")
    assert source.object_id == f"x_{hdu.replace(',', '_')}"
    assert source.address == f"{path}{address}"
    if factor is None:
        with pytest.raises(
            UnsupportedImageError, match=r"x\.fits\[.*HDU '\w+'.*the file has HDU 0"
        ):
            read_cutout(source)
        return
    np.testing.assert_array_equal(read_cutout(source).array[0], factor * GREY)
    from_catalogue = ImageFile("7", f"{path}{address}")
    np.testing.assert_array_equal(read_cutout(from_catalogue).array[0], factor * GREY)


def test_a_file_whose_name_ends_in_brackets_is_that_file(tmp_path: Path) -> None:
    write_hdus(tmp_path / "x.fits", {"data": IMAGE}, {"data": 2 * IMAGE})
    path = write_hdus(tmp_path / "x.fits[1]", {"data": 3 * IMAGE})
    np.testing.assert_array_equal(list_rows(path)[0].array[0], 3 * GREY)
    with pytest.raises(UnreadableImageError, match="no file matches"):
        discover_sources(tmp_path / "y.fits[1]")
    (tmp_path / "y1.fits").write_bytes((tmp_path / "x.fits").read_bytes())
    assert len(list_rows(str(tmp_path / "[y]1.fits"))) == 1


COMPANIONS = (
    "WEIGHT WHT WT DRZWHT SCI_WHT MASK BITMASK MASK_DATA PSF HPSF PSF_MODEL ERR ERROR_IMAGE "
    "SIGMA RMS_R NOISEMAP NOISE_MAP UNCERTAINTY VAR VARMAP VAR_POISSON INVVAR IVAR "
    "INVERSE_VARIANCE DQ DATA_QUALITY FLAGS FLG BADPIX CON CONTEXT CONFIDENCE EXPTIME "
    "EXPOSURE_MAP NEXP COVERAGE SKY SKYMODEL BACKGROUND RESIDUAL TIMEMAP SAMP AREA STAT "
    "CHI2 CHISQ SEGM SEGMENTATION_MAP APERTURE FOOTPRINT KERNEL maskimage BPM NOBS GAIN_MAP FLAT"
)
GALAXIES = (
    "SCI IMAGE DATA GAL1 SIGNAL CHIP1 CCD1 STATION VARIABLE CONE SEGUE STAMP CONVOLVED "
    "SKYSUB BKGSUB SKY_SUBTRACTED MODEL_SUBTRACTED INTENSITY INVERTED W STDSTAR DEEP"
)


@pytest.mark.parametrize("name", ["FLUX", "signal", "Intensity", "STACK", "MOSAIC"])
def test_what_is_an_image_by_its_name_is_taken_first(name: str) -> None:
    images = [fits.ImageHDU(IMAGE, name="LOGNORM"), fits.ImageHDU(IMAGE, name=name)]
    notes = read_cutout(fits.HDUList([fits.PrimaryHDU(), *images])).notes
    assert notes == {"hdu": f"2 ({name.upper()})"}


def test_kind_of_an_hdu_by_prodtype() -> None:
    images = [fits.ImageHDU(IMAGE) for _ in range(3)]
    for hdu, kind in zip(images, ("wtmap", "image", "dqmask"), strict=True):
        hdu.header["PRODTYPE"] = kind
    assert read_cutout(fits.HDUList([fits.PrimaryHDU(), *images])).notes == {"hdu": "2"}


def test_names_of_what_is_no_galaxy_and_of_what_may_be_one() -> None:
    for names, taken in ((COMPANIONS, False), (GALAXIES, True)):
        for name in names.split():
            images = [fits.ImageHDU(IMAGE, name=name), fits.ImageHDU(IMAGE)]
            notes = read_cutout(fits.HDUList([fits.PrimaryHDU(), *images])).notes
            assert notes["hdu"].startswith("1 ") == taken, name


@pytest.mark.parametrize(
    ("card", "value"),
    [
        ("OBSTYPE", "FLAT"),
        ("DATATYPE", "mask"),
        ("CONTENT", "WEIGHT"),
        ("IMGTYPE", "BIAS"),
        ("HDUNAME", "SEGMENTATION"),
        ("IMTYPE", "invvar"),
    ],
)
def test_what_is_no_galaxy_by_another_card_is_passed_over(
    tmp_path: Path, card: str, value: str
) -> None:
    other, image = fits.PrimaryHDU(as_stored(GREY)), fits.ImageHDU(as_stored(GREY))
    other.header[card] = value
    image.header["OBSTYPE"] = "SKY"  # an exposure, and no map of the background
    fits.HDUList([other, image]).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits")
    assert cutout.notes["hdu"] == "1" and "more_images" not in cutout.notes


def test_what_galfit_made_of_a_galaxy_is_no_other_galaxy(tmp_path: Path) -> None:
    names = ("NGC 1300", "model", "residual map")
    images = [fits.ImageHDU(as_stored(GREY), fits.Header({"OBJECT": name})) for name in names]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    notes = read_cutout(tmp_path / "a.fits").notes
    assert notes["hdu"] == "1" and "more_images" not in notes


@pytest.mark.parametrize("axis", ["Time (s)", "TIME-OBS", "utc", "MJD"])
def test_a_series_in_time_is_called_so(tmp_path: Path, axis: str) -> None:
    write_fits(tmp_path / "a.fits", FLUX, CTYPE3=axis)
    with pytest.raises(BandError, match="a series of 3 images in time"):
        read_cutout(tmp_path / "a.fits")


@pytest.mark.parametrize("card", ["HDUNAME", "DATATYPE", "CONTENT"])
def test_an_image_is_known_by_another_card(tmp_path: Path, card: str) -> None:
    first, second = fits.PrimaryHDU(as_stored(GREY)), fits.ImageHDU(as_stored(GREY))
    second.header[card] = "SCIENCE"
    fits.HDUList([first, second]).writeto(tmp_path / "a.fits")
    assert read_cutout(tmp_path / "a.fits").notes["hdu"] == "1"


@pytest.mark.parametrize("section", ["1:20,1:20", "*,1:20", "0][1:20,1:20", "SCI,1][10:20,10:20"])
def test_a_section_in_brackets_is_called_so(tmp_path: Path, section: str) -> None:
    write_fits(tmp_path / "a.fits", GREY)
    (source,) = discover_sources([f"{tmp_path}/a.fits[{section}]"])
    with pytest.raises(UnsupportedImageError, match=r"a\.fits\[.*is a section, which is not read"):
        read_cutout(source)
