"""Cutouts of a mosaic at catalogue positions."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from synthetic import make_header

from galmorph.errors import (
    BandError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.flags import Flags
from galmorph.images import compressed
from galmorph.images import fits as reader
from galmorph.images.mosaic import Position, mosaic_sources
from galmorph.images.read import read_cutout
from galmorph.images.source import Source

SIDE = 400
SCALE = 0.262


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    reader._open_kept.cache_clear()


@pytest.fixture
def mosaic(tmp_path: Path) -> Path:
    pixels = np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    header = make_header(FILTER="r", CRPIX1=200.5, CRPIX2=200.5)
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "mosaic.fits")
    return tmp_path / "mosaic.fits"


def position_of(mosaic: Path, x: float, y: float) -> tuple[float, float]:
    ra, dec = WCS(fits.getheader(mosaic)).wcs_pix2world(x, y, 0)
    return float(ra), float(dec)


def test_cutouts_are_the_pixels_around_the_positions(mosaic: Path) -> None:
    pixels = fits.getdata(mosaic)
    places = [(99.5, 149.5), (249.5, 50.5)]
    positions = [Position(str(n), *position_of(mosaic, *xy)) for n, xy in enumerate(places)]
    cutouts = [read_cutout(s) for s in mosaic_sources(mosaic, positions, fov=20 * SCALE)]
    for cutout, position, (x, y) in zip(cutouts, positions, places, strict=True):
        left, bottom = round(x - 9.5), round(y - 9.5)
        expected = pixels[bottom : bottom + 20, left : left + 20][::-1]
        np.testing.assert_array_equal(cutout.array[0], expected)
        assert cutout.object_id == position.object_id
        assert (cutout.ra, cutout.dec) == pytest.approx((position.ra, position.dec), abs=1e-8)
        assert cutout.pixel_scale == pytest.approx(SCALE)
        assert cutout.flags == Flags.NONE


def test_position_at_the_edge_is_padded(mosaic: Path) -> None:
    position = Position("edge", *position_of(mosaic, 0, 200))
    (source,) = mosaic_sources(mosaic, [position], fov=20 * SCALE)
    cutout = read_cutout(source)
    assert cutout.array.shape == (1, 20, 20)
    assert cutout.flags == Flags.PADDED


def test_position_outside_is_an_error_of_its_row(mosaic: Path) -> None:
    (source,) = mosaic_sources(mosaic, [Position("far", 10.0, -40.0)], fov=5.0)
    with pytest.raises(
        UnsupportedImageError, match=r"mosaic\.fits: the position RA 10\.0.* outside"
    ):
        read_cutout(source)


def test_position_that_is_missing_is_an_error_of_its_row(mosaic: Path) -> None:
    positions = [Position("a", np.nan, 2.2), Position("b", 150.1, np.nan)]
    for source in mosaic_sources(mosaic, positions, fov=5.0):
        with pytest.raises(UnsupportedImageError, match=r"mosaic\.fits: the catalogue has no pos"):
            read_cutout(source)


def test_mosaic_that_is_no_fits(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UnsupportedImageError, match=r"a\.jpg: a mosaic must be a FITS image"):
        mosaic_sources(tmp_path / "a.jpg", [], fov=5.0)


def test_mosaic_without_a_wcs_is_refused_before_any_row(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((40, 40), dtype=np.float32)).writeto(tmp_path / "plain.fits")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(3))])
    table.writeto(tmp_path / "table.fits")
    for name in ("plain.fits", "table.fits"):
        with pytest.raises(UnsupportedImageError, match=f"{name}: a mosaic must be a FITS image"):
            mosaic_sources(tmp_path / name, [Position("a", 150.1, 2.2)], fov=5.0)


def test_catalogue_columns_travel(mosaic: Path) -> None:
    ra, dec = position_of(mosaic, 200, 200)
    (source,) = mosaic_sources(mosaic, [Position("a", ra, dec, columns={"z": 0.03})], fov=5.0)
    assert source.columns == {"ra": ra, "dec": dec, "z": 0.03}


def test_positions_are_read_lazily(mosaic: Path) -> None:
    taken = []

    def positions() -> Iterator[Position]:
        for n in range(10**9):
            taken.append(n)
            yield Position(str(n), 150.1, 2.2)

    sources = mosaic_sources(mosaic, positions(), fov=5.0)
    assert [next(sources).object_id for _ in range(3)] == ["0", "1", "2"]
    assert len(taken) == 3


def test_one_mosaic_per_band(mosaic: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.fits"
    header = make_header(FILTER="g", CRPIX1=200.5, CRPIX2=200.5)
    fits.PrimaryHDU(-fits.getdata(mosaic), header).writeto(other)
    position = Position("a", *position_of(mosaic, 200, 200))
    (source,) = mosaic_sources([other, mosaic], [position], fov=20 * SCALE)
    cutout = read_cutout(source)
    assert cutout.bands == ("g", "r")
    np.testing.assert_array_equal(cutout.array[0], -cutout.array[1])


def test_mosaics_of_different_zero_points(mosaic: Path, tmp_path: Path) -> None:
    files = []
    for band, zeropoint, scale in [("g", 22.5, 1), ("r", 25.0, 10)]:
        header = make_header(FILTER=band, MAGZERO=zeropoint, CRPIX1=200.5, CRPIX2=200.5)
        files.append(tmp_path / f"{band}.fits")
        fits.PrimaryHDU(scale * fits.getdata(mosaic), header).writeto(files[-1])
    position = Position("a", *position_of(mosaic, 200, 200))
    (source,) = mosaic_sources(files, [position], fov=20 * SCALE)
    cutout = read_cutout(source)
    np.testing.assert_allclose(cutout.array[1], cutout.array[0], rtol=1e-6)
    assert cutout.notes["band_factors"] == "1,0.1"


def write_distorted(path: Path, **cards: Any) -> WCS:
    """A mosaic of 2,000 pixels with SIP polynomials and one bright pixel at (1800, 1800)."""
    header = make_header(CRPIX1=1000.5, CRPIX2=1000.5, **cards)
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    for key, value in {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_0_2": 1e-5}.items():
        header[key] = value
    pixels = np.zeros((2000, 2000), dtype=np.float32)
    pixels[1800, 1800] = 1
    fits.PrimaryHDU(pixels, header).writeto(path)
    return WCS(header)


@pytest.mark.parametrize("cards", [{}, {"RADESYS": "FK5", "EQUINOX": 2015.5}])
def test_distorted_mosaic(tmp_path: Path, cards: dict[str, Any]) -> None:
    wcs = write_distorted(tmp_path / "a.fits", **cards)
    sky, left, right = (wcs.pixel_to_world(x, 1800).icrs for x in (1800, 1799.5, 1800.5))
    below, above = (wcs.pixel_to_world(1800, y).icrs for y in (1799.5, 1800.5))
    pixel_scale = np.sqrt(left.separation(right).arcsec * below.separation(above).arcsec)
    assert pixel_scale > 1.01 * SCALE
    position = Position("a", sky.ra.deg, sky.dec.deg)
    (source,) = mosaic_sources(tmp_path / "a.fits", [position], fov=41 * pixel_scale)
    cutout = read_cutout(source)
    assert cutout.pixel_scale == pytest.approx(pixel_scale, rel=1e-5)
    assert np.argwhere(cutout.array[0]).tolist() == [[20, 20]]
    assert (cutout.ra, cutout.dec) == pytest.approx((sky.ra.deg, sky.dec.deg), abs=1e-8)


def test_mosaic_far_from_the_equator_of_its_projection(tmp_path: Path) -> None:
    header = make_header(CRVAL1=10.0, CRVAL2=0.0, CRPIX1=100.5, CRPIX2=100.5 - 60 * 3600 / SCALE)
    header["CTYPE1"], header["CTYPE2"] = "RA---CAR", "DEC--CAR"
    fits.PrimaryHDU(np.ones((200, 200), np.float32), header).writeto(tmp_path / "a.fits")
    fov = 50 * SCALE
    (source,) = mosaic_sources(tmp_path / "a.fits", [Position("a", 10.0, 60.0)], fov=fov)
    cutout = read_cutout(source)
    assert cutout.pixel_scale == pytest.approx(SCALE * np.sqrt(0.5), rel=1e-3)
    assert cutout.array.shape[1] == round(fov / cutout.pixel_scale)
    sides = f"pixels of {SCALE / 2:.3g} by {SCALE:.3g} arcsec"
    assert cutout.notes["orientation"] == f"north up, east left, {sides}"


@pytest.mark.parametrize("offset", [0.12, 2.0, 60.0, 180.0])
def test_position_outside_a_distorted_mosaic(tmp_path: Path, offset: float) -> None:
    write_distorted(tmp_path / "a.fits")
    (source,) = mosaic_sources(tmp_path / "a.fits", [Position("a", 150.1 + offset, 2.2)], fov=5.0)
    with pytest.raises(UnsupportedImageError, match="is outside the image"):
        read_cutout(source)


def test_bands_must_be_known(mosaic: Path) -> None:
    strange = mosaic.with_name("strange.fits")
    fits.writeto(strange, fits.getdata(mosaic), make_header(FILTER="strange"))
    with pytest.raises(BandError, match="the wavelength of strange is not known"):
        mosaic_sources([mosaic, strange], [], fov=5.0)
    mosaic_sources([mosaic, strange], [], fov=5.0, bands=["r", "strange"])
    with pytest.raises(BandError, match="the mosaics are of the bands r, r; name them"):
        mosaic_sources([mosaic, mosaic], [], fov=5.0)
    with pytest.raises(BandError, match="1 bands for 2 mosaics"):
        mosaic_sources([mosaic, mosaic], [], fov=5.0, bands=["g"])


def test_missing_mosaic_is_said_before_work_starts(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"none\.fits: there is no such file"):
        mosaic_sources(tmp_path / "none.fits", [], fov=5.0)


def test_field_of_view_must_be_positive(mosaic: Path) -> None:
    with pytest.raises(ValueError, match="fov must be positive"):
        mosaic_sources(mosaic, [], fov=0.0)


def test_only_the_part_needed_is_read(tmp_path: Path) -> None:
    # A sparse file of 3.6 GB: reading it whole would take minutes and all memory.
    side = 30_000
    header = make_header(CRPIX1=side / 2 + 0.5, CRPIX2=side / 2 + 0.5)
    hdu = fits.PrimaryHDU(np.zeros((1, 1), dtype=np.float32), header)
    hdu.header["NAXIS1"], hdu.header["NAXIS2"] = side, side
    text = hdu.header.tostring().encode()
    path = tmp_path / "large.fits"
    with path.open("wb") as file:
        file.write(text)
        file.truncate(len(text) + -(-side * side * 4 // 2880) * 2880)
    (source,) = mosaic_sources(path, [Position("a", 150.1, 2.2)], fov=50 * SCALE)
    assert read_cutout(source).array.shape == (1, 50, 50)


def test_many_threads(mosaic: Path) -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(30, 370, (60, 2))
    positions = [Position(str(n), *position_of(mosaic, *xy)) for n, xy in enumerate(places)]
    sources = list(mosaic_sources(mosaic, positions, fov=21 * SCALE))

    def read_in_thread(chunk: list[Source]) -> list[float]:
        centres = [float(read_cutout(source).array[0, 10, 10]) for source in chunk]
        reader._open_kept.cache_clear()
        return centres

    with ThreadPoolExecutor(4) as pool:
        found = [
            c for part in pool.map(read_in_thread, [sources[i::4] for i in range(4)]) for c in part
        ]
    expected = [float(y * SIDE + x) for i in range(4) for x, y in places[i::4]]
    assert found == expected


def make_positions(mosaic: Path) -> list[Position]:
    places = [(99.5, 149.5), (249.5, 50.5), (10.0, 390.0)]
    return [Position(str(n), *position_of(mosaic, *xy)) for n, xy in enumerate(places)]


def read_all(mosaics: Path | list[Path], positions: list[Position]) -> list[np.ndarray]:
    sources = list(mosaic_sources(mosaics, positions, fov=20 * SCALE))
    cutouts = [read_cutout(pickle.loads(pickle.dumps(source))) for source in sources]
    first = mosaics[0] if isinstance(mosaics, list) else mosaics
    assert {cutout.path for cutout in cutouts} == {str(first)}
    return [cutout.array for cutout in cutouts]


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_mosaic_is_unpacked_once(
    suffix: str, mosaic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = mosaic.with_name(f"packed.fits{suffix}")
    packed.write_bytes(PACKERS[suffix](mosaic.read_bytes()))
    read = []
    copy = compressed._copy

    def count(stream: Any, *rest: Any) -> None:
        read.append(1)
        copy(stream, *rest)

    monkeypatch.setattr(compressed, "_copy", count)
    monkeypatch.setattr("galmorph.images.raster.decompress", lambda *_, **__: pytest.fail("again"))
    positions = make_positions(mosaic)
    expected = read_all(mosaic, positions)
    for _ in range(2):  # as the sources are listed several times in a run
        for array, plain in zip(read_all(packed, positions), expected, strict=True):
            np.testing.assert_array_equal(array, plain)
    assert len(read) == 1
    packed.write_bytes(PACKERS[suffix](mosaic.read_bytes() + bytes(2880)))
    read_all(packed, positions)
    assert len(read) == 2  # another file now


def test_compressed_mosaics_of_several_bands(mosaic: Path, tmp_path: Path) -> None:
    files = []
    for band, sign in [("g", -1), ("r", 1)]:
        header = make_header(FILTER=band, CRPIX1=200.5, CRPIX2=200.5)
        files.append(tmp_path / f"{band}.fits.gz")
        fits.PrimaryHDU(sign * fits.getdata(mosaic), header).writeto(files[-1])
    for array in read_all(files, make_positions(mosaic)):
        np.testing.assert_array_equal(array[0], -array[1])


def test_unpacked_mosaic_is_removed_at_the_end(mosaic: Path, tmp_path: Path) -> None:
    packed = mosaic.with_suffix(".fits.gz")
    packed.write_bytes(gzip.compress(mosaic.read_bytes()))
    folder = tmp_path / "temporary"
    folder.mkdir()
    code = (
        "import sys; from pathlib import Path; from galmorph.images.mosaic import mosaic_sources\n"
        "mosaic_sources(sys.argv[1], [], fov=5.0)\n"
        "print([path.name for path in Path(sys.argv[2]).rglob('*.fits')])"
    )
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", code, str(packed), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "['mosaic.fits']\n"
    assert list(folder.iterdir()) == []


def test_compressed_mosaic_that_cannot_be_unpacked(
    mosaic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    packed = tmp_path / "packed.fits.gz"
    whole = gzip.compress(mosaic.read_bytes())
    packed.write_bytes(whole[:-5000])
    with pytest.raises(UnreadableImageError, match="the gzip stream is cut short"):
        mosaic_sources(packed, [], fov=5.0)
    packed.write_bytes(gzip.compress(b"no image"))
    with pytest.raises(UnreadableImageError, match="what is compressed in it is no FITS"):
        mosaic_sources(packed, [], fov=5.0)
    packed.write_bytes(whole)
    monkeypatch.setattr(compressed, "KEPT_FREE_BYTES", 1 << 60)
    with pytest.raises(ImageTooLargeError, match="set TMPDIR to a larger disk"):
        mosaic_sources(packed, [], fov=5.0)
    monkeypatch.setattr(compressed, "MAX_UNPACKED_BYTES", 10_000)
    with pytest.raises(ImageTooLargeError, match="more than 10000 bytes when unpacked"):
        mosaic_sources(packed, [], fov=5.0)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2", "HCOMPRESS_1"])
def test_only_the_tiles_needed_are_unpacked(
    kind: str, mosaic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astropy.io.fits.hdu.compressed import _tiled_compression

    pixels = fits.getdata(mosaic).astype(np.int32)
    hdu = fits.CompImageHDU(
        pixels, fits.getheader(mosaic), compression_type=kind, tile_shape=(50, 40)
    )
    packed = mosaic.with_suffix(".fits.fz")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(packed)
    tiles = []
    decompress = _tiled_compression._decompress_tile

    def count(*arguments: Any, **settings: Any) -> Any:
        tiles.append(1)
        return decompress(*arguments, **settings)

    monkeypatch.setattr(_tiled_compression, "_decompress_tile", count)
    positions = make_positions(mosaic)
    for array, plain in zip(read_all(packed, positions), read_all(mosaic, positions), strict=True):
        np.testing.assert_array_equal(array, plain)
    assert len(tiles) <= 3 * 4  # of 80


def test_tiles_outside_the_cutout_are_not_counted(mosaic: Path) -> None:
    hdu = fits.CompImageHDU(
        fits.getdata(mosaic).astype(np.int32), fits.getheader(mosaic), tile_shape=(1, 2)
    )
    packed = mosaic.with_suffix(".fits.fz")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(packed)  # 80,000 tiles
    (source, *_) = mosaic_sources(packed, make_positions(mosaic), fov=20 * SCALE)
    assert read_cutout(source).array.shape == (1, 20, 20)
    with pytest.raises(ImageTooLargeError, match="80000 tiles are more than 50000"):
        read_cutout(packed)
