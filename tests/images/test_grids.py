"""Bands of other sizes and pixel scales, of several files or of one, on one grid."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from synthetic import make_header

from galmorph.errors import MissingExtraError, UnsupportedImageError
from galmorph.flags import Flags
from galmorph.images.cutout import Cutout
from galmorph.images.discover import discover_sources
from galmorph.images.read import read_cutout
from galmorph.settings import ReadOptions

SKY = (150.1, 2.2)
STAR = (150.1 + 2.0 / 3600, 2.2 + 1.0 / 3600)
SCALE = 0.262


def make_band(
    rows: int, columns: int, *, scale: float = SCALE, angle: float = 0.0, offset: Any = (0, 0),
    **cards: Any,
) -> fits.PrimaryHDU:  # fmt: skip
    """A Gaussian of 1.5 arcsec at STAR, of the same flux in whatever pixels."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    step = scale / 3600
    header = make_header(
        CD1_1=-step * c, CD1_2=step * s, CD2_1=step * s, CD2_2=step * c,
        CRPIX1=(columns + 1) / 2 + offset[0], CRPIX2=(rows + 1) / 2 + offset[1], **cards,
    )  # fmt: skip
    wcs = WCS(header)
    y, x = np.mgrid[:rows, :columns]
    ra, dec = wcs.wcs_pix2world(x, y, 0)
    far = np.hypot((ra - STAR[0]) * math.cos(math.radians(2.2)), dec - STAR[1]) * 3600
    return fits.PrimaryHDU((scale**2 * np.exp(-((far / 1.5) ** 2) / 2)).astype("f4"), header)


def join(folder: Path, **bands: fits.PrimaryHDU) -> Cutout:
    for band, hdu in bands.items():
        hdu.writeto(folder / f"a_{band}.fits")
    (source,) = discover_sources(folder, bands_from_name="{id}_{band}.fits")
    return read_cutout(source)


def check_star(cutout: Cutout, *, rtol: float) -> None:
    """Every band must show the star where the cutout's own centre and scale put it."""
    _, rows, columns = cutout.array.shape
    assert cutout.matrix is not None
    east = (STAR[0] - cutout.ra) * math.cos(math.radians(2.2))
    right, up = np.linalg.solve(np.array(cutout.matrix), [east, STAR[1] - cutout.dec])
    y, x = np.mgrid[:rows, :columns]
    for plane in np.nan_to_num(cutout.array.astype(float)):
        total = plane.sum()
        assert total == pytest.approx(2 * math.pi * 1.5**2, rel=rtol)
        assert (plane * x).sum() / total == pytest.approx((columns - 1) / 2 + right, abs=0.6)
        assert (plane * y).sum() / total == pytest.approx((rows - 1) / 2 - up, abs=0.6)


@pytest.mark.parametrize("size", [(65, 65), (63, 64), (66, 66), (64, 62)])
def test_bands_that_differ_by_a_pixel_or_two_are_trimmed(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    cutout = join(tmp_path, g=make_band(64, 64), r=make_band(*size), z=make_band(64, 64))
    rows, columns = min(64, size[0]), min(64, size[1])
    assert cutout.array.shape == (3, rows, columns)
    assert cutout.notes["trimmed"] == f"to {columns} x {rows} pixels in common"
    assert not cutout.flags & Flags.RESAMPLED
    check_star(cutout, rtol=1e-3)


def test_trimming_goes_by_the_wcs(tmp_path: Path) -> None:
    cutout = join(tmp_path, g=make_band(64, 64), r=make_band(66, 66, offset=(1, -1)))
    r = fits.getdata(tmp_path / "a_r.fits")
    np.testing.assert_array_equal(cutout.array[1], r[:64, 2:66][::-1])
    np.testing.assert_array_equal(cutout.array[0], fits.getdata(tmp_path / "a_g.fits")[::-1])
    assert (cutout.ra, cutout.dec) == pytest.approx(SKY, abs=1e-9)


def test_other_pixel_scales_are_resampled_to_the_finest(tmp_path: Path) -> None:
    coarse = make_band(40, 40, scale=3 * SCALE)
    cutout = join(tmp_path, H=coarse, VIS=make_band(100, 102), Y=make_band(100, 102, angle=20))
    assert cutout.pixel_scale == pytest.approx(SCALE)
    assert cutout.array.shape == (3, 100, 102)
    assert cutout.flags & Flags.RESAMPLED
    assert "a_H.fits" in cutout.notes["resampled"] and "a_Y.fits" in cutout.notes["resampled"]
    check_star(cutout, rtol=0.02)


def test_a_coarse_band_of_a_smaller_field_trims_the_others(tmp_path: Path) -> None:
    cutout = join(tmp_path, g=make_band(120, 120), r=make_band(40, 40, scale=2 * SCALE))
    assert 76 <= cutout.array.shape[1] <= 80
    assert np.isfinite(cutout.array).all()
    check_star(cutout, rtol=0.02)


def test_units_of_brightness_are_not_divided_among_pixels(tmp_path: Path) -> None:
    bands = {"g": make_band(64, 64), "r": make_band(32, 32, scale=2 * SCALE)}
    for hdu in bands.values():
        hdu.data = np.ones_like(hdu.data)
        hdu.header["BUNIT"] = "MJy/sr"
    cutout = join(tmp_path, **bands)
    np.testing.assert_allclose(cutout.array, 1, rtol=1e-6)


@pytest.mark.parametrize("hdu", [None, (1, 2, 3)])
def test_bands_in_one_file_are_trimmed_alike(tmp_path: Path, hdu: Any) -> None:
    made = [
        make_band(side, side, FILTER=band) for band, side in zip("grz", (64, 65, 64), strict=True)
    ]
    images = [fits.ImageHDU(one.data, one.header) for one in made]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    cutout = read_cutout(tmp_path / "a.fits", options=ReadOptions(hdu=hdu))
    assert cutout.array.shape == (3, 64, 64)
    assert "more_images" not in cutout.notes
    check_star(cutout, rtol=1e-3)


def test_sizes_without_a_wcs_are_named(tmp_path: Path) -> None:
    bare = fits.PrimaryHDU(np.ones((65, 66), "f4"))
    said = (
        r"bands of different sizes \(.*a_g\.fits 64 x 64, .*a_r\.fits 66 x 65\): each needs a WCS"
    )
    with pytest.raises(UnsupportedImageError, match=said):
        join(tmp_path, g=make_band(64, 64), r=bare)


def test_resampling_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reproject", None)
    with pytest.raises(MissingExtraError, match="reproject is needed to join bands"):
        join(tmp_path, g=make_band(64, 64), r=make_band(32, 32, scale=2 * SCALE))
