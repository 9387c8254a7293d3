"""Ordinary FITS files read without astropy: as with it, pixel by pixel and word by word."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutants import make_seeds, mutate
from synthetic import make_flux, make_header, write_fits

from galmorph.errors import GalmorphError
from galmorph.images import fits_files as general
from galmorph.images.cutout import Cutout
from galmorph.images.plain_fits import open_plain
from galmorph.images.read import read_cutout
from galmorph.settings import ReadOptions

FITS_SEEDS = {name: data for name, data in make_seeds().items() if name.startswith("fits")}
PLAIN_SEEDS = ("fits_cube", "fits_unnamed", "fits_rgb", "fits_rice_1", "fits_rice_float")


def read(data: bytes, options: ReadOptions) -> Cutout | Exception:
    try:
        return read_cutout(data, options=options)
    except GalmorphError as error:
        return error


def check_both_ways(
    data: bytes, monkeypatch: pytest.MonkeyPatch, options: ReadOptions | None = None
) -> bool:
    """Whether it was read without astropy, with the same outcome."""
    options = options or ReadOptions()
    found = read(data, options)
    with monkeypatch.context() as patch:
        patch.setattr(general, "open_plain", lambda _: None)
        expected = read(data, options)
    if isinstance(expected, Exception) or isinstance(found, Exception):
        assert type(found) is type(expected) and str(found) == str(expected)
    else:
        np.testing.assert_array_equal(found.array, expected.array)
        for name in ("bands", "kind", "ra", "dec", "pixel_scale", "survey", "unit", "flags"):
            np.testing.assert_equal(getattr(found, name), getattr(expected, name))
        assert dict(found.notes) == dict(expected.notes)
    return open_plain(data) is not None


@pytest.mark.parametrize("name", FITS_SEEDS)
def test_every_kind_is_read_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_both_ways(FITS_SEEDS[name], monkeypatch) == (name in PLAIN_SEEDS)


@pytest.mark.parametrize("name", ["fits_cube", "fits_extensions", "fits_scaled", "fits_rgb"])
def test_mutants_are_read_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, seed = random.Random(name), FITS_SEEDS[name]
    plain = sum(check_both_ways(mutate(seed, rng), monkeypatch) for _ in range(150))
    assert plain > 5 or name not in PLAIN_SEEDS


CARDS: list[dict[str, Any]] = [
    {"OBJECT": "NGC 1 / it''s", "EXPTIME": 1.5e-7, "FLAG": True, "COUNT": -12},
    {"RA": "10:20:30.1", "DEC": "-01:02:03"},
    {"BUNIT": "nanomaggy/pixel", "MAGZERO": 22.5, "FILTER": "r"},
    {"BSCALE": 2.0, "BZERO": 1.0},
    {"DATE-OBS": "2020-01-01T00:00:00", "LONGTEXT": "a" * 100},
    {"HIERARCH ESO DET ID": 3},
    {"DP1": "NAXIS: 2"},
    {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "A_2_0": 1e-6},
    {"EQUINOX": 1950.0, "RADESYS": "FK4"},
    {"EXTNAME": "SCI"},
    {"IMAGETYP": "MASK"},
    {"SURVEY": "DECaLS", "BANDS": "grz"},
]


@pytest.mark.parametrize("cards", CARDS)
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
def test_headers_are_read_alike(
    cards: dict[str, Any], dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, flux in enumerate((make_flux(side=30), make_flux(side=30)[0])):
        path = tmp_path / f"{number}.fits"
        write_fits(path, (flux * 100).astype(dtype), **{**make_header(), **cards})
        check_both_ways(path.read_bytes(), monkeypatch)


def test_images_in_extensions_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    from io import BytesIO

    from astropy.io import fits

    flux = make_flux(side=40)
    hdus: list[Any] = [fits.PrimaryHDU()]
    for band, plane in zip("grz", flux, strict=True):
        hdus.append(fits.ImageHDU(plane, make_header(FILTER=band), name=f"SCI{band}"))
    hdus += [fits.ImageHDU(flux[1]), fits.ImageHDU(flux[1].astype(np.int16), name="MASK")]
    stream = BytesIO()
    fits.HDUList(hdus).writeto(stream)
    for hdu in (None, 1, 4, 9, "SCIR", "NONE", (1, 2)):
        assert check_both_ways(stream.getvalue(), monkeypatch, ReadOptions(hdu=hdu))


@pytest.mark.parametrize("dither", [-1, 1, 2])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("tile", [None, (1, 7, 44), (1, 50)])
def test_tiles_are_read_alike(
    dither: int, dtype: str, tile: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from io import BytesIO

    from astropy.io import fits

    flux = (make_flux(side=44) * (1 if "f" in dtype else 100)).astype(dtype)
    blank = flux.copy()
    if "f" in dtype:
        blank[:, 3, 4:9] = np.nan
        blank[:, 20] = 0
    for cube in (flux, flux[0], blank):
        shape = tile[-cube.ndim :] if tile is not None else None
        hdu = fits.CompImageHDU(
            cube,
            make_header(BANDS="grz"),
            compression_type="RICE_1",
            quantize_method=dither,
            dither_seed=7,
            tile_shape=shape if shape is None or len(shape) == cube.ndim else (1, *shape),
        )
        stream = BytesIO()
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
        plain = check_both_ways(stream.getvalue(), monkeypatch)
        assert plain or tile is not None or dtype == "f8" or cube is blank


@pytest.mark.parametrize("fov", [None, 5.0, 1e4])
def test_parts_of_the_sky_are_read_alike(fov: float, monkeypatch: pytest.MonkeyPatch) -> None:
    from io import BytesIO

    from astropy.io import fits

    header = make_header()
    stream = BytesIO()
    fits.PrimaryHDU(make_flux(side=60), header).writeto(stream)
    center = (header["CRVAL1"], header["CRVAL2"])
    for options in (ReadOptions(center=center, fov=fov), ReadOptions(center=(0.0, 0.0), fov=fov)):
        assert check_both_ways(stream.getvalue(), monkeypatch, options)
