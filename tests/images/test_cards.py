"""Headers against the standard: a card that cannot be read is a card that is not there."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from synthetic import make_header, make_profile, write_cards, write_fits

from galmorph.errors import UnreadableImageError
from galmorph.images.read import read_cutout
from galmorph.settings import ReadOptions

GREY = make_profile()
WHOLE = np.arange(64, dtype="i2").reshape(8, 8)
WCS_CARDS = [str(card) for card in make_header().cards]


VALUES = ["NaN", "NAN", "inf", "SDSS r", "1,5", "12:30:10", "(1", "'open"]
KEYS = ["MAGZERO", "ZP", "RA", "FILTER", "BAND", "BUNIT", "SURVEY", "ORIGIN", "EXTTYPE", "CTYPE3"]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("key", KEYS)
def test_a_card_that_cannot_be_read_is_not_there(tmp_path: Path, key: str, value: str) -> None:
    path = write_cards(tmp_path / "a.fits", GREY, [*WCS_CARDS, f"{key:8}= {value}"])
    cutout = read_cutout(path)
    np.testing.assert_array_equal(cutout.array[0], GREY)
    assert (cutout.bands, cutout.unit, cutout.survey) == (("unknown",), "", "")
    assert cutout.ra == pytest.approx(150.1)
    said = cutout.notes.get("message", "")
    if key not in ("EXTTYPE", "CTYPE3", "RA", "ORIGIN"):
        assert said == f"{key} cannot be read"


def test_cards_that_nobody_asks_for_are_not_named(tmp_path: Path) -> None:
    path = write_cards(tmp_path / "a.fits", GREY, ["EXPTIME =                  NaN"])
    assert "message" not in read_cutout(path).notes


def test_a_card_of_the_primary_that_extensions_lack(tmp_path: Path) -> None:
    path = write_cards(tmp_path / "a.fits", GREY[:2, :2], ["MAGZERO = NaN", "EXTEND  =  T"])
    fits.append(path, GREY, fits.Header({"EXTNAME": "SCI"}), verify=False)
    cutout = read_cutout(path)
    assert cutout.notes["hdu"] == "1 (SCI)"
    assert cutout.notes["message"] == "MAGZERO cannot be read"


@pytest.mark.parametrize(
    ("cards", "factor", "offset", "named"),
    [
        (["BZERO   = '100.0'"], 1, 100, ""),
        (["BSCALE  = ' 2'", "BZERO   = '1D2'"], 2, 100, ""),
        (["BZERO   = 1.0D2"], 1, 100, ""),
        (["BZERO   ="], 1, 0, "BZERO"),
        (["BSCALE  =                        / unknown", "BZERO   = 7"], 1, 7, "BSCALE"),
        (["BSCALE  = ''"], 1, 0, "BSCALE"),
        (["BLANK   = 'none'"], 1, 0, "BLANK"),
        (["BLANK   = NaN"], 1, 0, "BLANK"),
        (["BLANK   ="], 1, 0, "BLANK"),
        (["EXTNAME = SCI"], 1, 0, ""),
        (["EXTVER  = 'one'"], 1, 0, ""),
        (["EXTLEVEL= NaN"], 1, 0, ""),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_scale_cards_in_quotes_or_without_a_value(
    tmp_path: Path, cards: list[str], factor: int, offset: int, named: str, packed: bool
) -> None:
    path = write_cards(tmp_path / "a.fits", WHOLE, [*WCS_CARDS, *cards])
    before = path.read_bytes()
    if packed:
        path = tmp_path / "a.fits.gz"
        path.write_bytes(gzip.compress(before))
    cutout = read_cutout(path)
    np.testing.assert_array_equal(cutout.array[0], WHOLE * factor + offset)
    assert cutout.notes.get("message", "") == (f"{named} cannot be read" if named else "")
    part = read_cutout(path, options=ReadOptions(fov=4 * 0.262, center=(cutout.ra, cutout.dec)))
    assert part.array.shape == (1, 4, 4)
    np.testing.assert_array_equal(part.array[0], cutout.array[0, 2:6, 2:6])
    assert (tmp_path / "a.fits").read_bytes() == before  # the file itself is left alone


def test_a_blank_in_quotes_is_known(tmp_path: Path) -> None:
    path = write_cards(tmp_path / "a.fits", WHOLE, ["BLANK   = '10'"])
    assert np.flatnonzero(np.isnan(read_cutout(path).array)).tolist() == [10]


@pytest.mark.parametrize("key", ["BSCALE", "BZERO"])
@pytest.mark.parametrize("value", ["0,0", "NaN", "abc", "'unknown'", "T", "1.0.0", "(1.0, 2.0)"])
@pytest.mark.parametrize("pixels", [GREY, WHOLE])
def test_a_scale_that_cannot_be_known_refuses_the_row_by_its_name(
    tmp_path: Path, key: str, value: str, pixels: np.ndarray
) -> None:
    path = write_cards(tmp_path / "a.fits", pixels, [f"{key:8}= {value}"])
    with pytest.raises(UnreadableImageError, match=f"{key} = .*is no number, so the values"):
        read_cutout(path)


def test_a_size_that_is_no_number(tmp_path: Path) -> None:
    path = write_cards(tmp_path / "a.fits", GREY, [])
    path.write_bytes(
        path.read_bytes().replace(
            b"NAXIS2  =                   64", b"NAXIS2  =  sixty-four         "
        )
    )
    with pytest.raises(UnreadableImageError, match="NAXIS2 = sixty-four is no whole number"):
        read_cutout(path)


def test_damage_is_said_in_words_of_people(tmp_path: Path) -> None:
    path = write_fits(tmp_path / "a.fits", GREY)
    path.write_bytes(path.read_bytes()[:-10_000])
    with pytest.raises(
        UnreadableImageError, match=r"damaged or cut short: HDU 0 lacks 9\d\d\d of 16384 bytes"
    ):
        read_cutout(path)
    path = write_cards(tmp_path / "b.fits", GREY, [])
    path.write_bytes(
        path.read_bytes().replace(
            b"BITPIX  =                  -32", b"BITPIX  =                   33"
        )
    )
    with pytest.raises(UnreadableImageError, match="the pixels of the FITS cannot be read"):
        read_cutout(path)


def test_damage_to_packed_pixels_is_told_from_that_to_a_header(tmp_path: Path) -> None:
    fits.CompImageHDU(GREY, compression_type="GZIP_1").writeto(tmp_path / "a.fits")
    data = bytearray((tmp_path / "a.fits").read_bytes())
    start = data.index(b"\x1f\x8b") + 12
    data[start : start + 40] = b"\xff" * 40
    (tmp_path / "a.fits").write_bytes(data)
    with pytest.raises(UnreadableImageError, match="the pixels of the FITS cannot be read"):
        read_cutout(tmp_path / "a.fits")


def test_unreadable_cards_of_an_hdu_in_memory(tmp_path: Path) -> None:
    path = write_cards(tmp_path / "a.fits", GREY, ["MAGZERO = NaN", "FILTER  = SDSS r"])
    with fits.open(path) as hdus:
        cutout = read_cutout(hdus[0])
        np.testing.assert_array_equal(cutout.array[0], GREY)
        assert cutout.notes["message"] == "MAGZERO, FILTER cannot be read"
