"""JPEG, PNG, TIFF and WebP in every mode."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic import make_profile, make_rgb, write_jpeg

from galmorph.errors import ImageTooLargeError, MissingExtraError, UnreadableImageError
from galmorph.flags import Flags
from galmorph.images.raster import read_raster
from galmorph.images.read import read_cutout
from galmorph.settings import ReadOptions

RGB = make_rgb()
PLANES = RGB.transpose(2, 0, 1)
GREY = RGB[:, :, 0]


@pytest.fixture(autouse=True)
def pillow_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What simplejpeg would take first is tested in test_jpeg.py."""
    monkeypatch.setattr("galmorph.images.jpeg._import_simplejpeg", lambda: None)


def decode(path: Path) -> Any:
    """(3, y, x) as Pillow alone has it."""
    with Image.open(path) as image:
        return np.asarray(image).transpose(2, 0, 1)


def save(path: Path, array: Any, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_jpeg_is_what_pillow_decodes(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "NGC1.jpg")
    cutout = read_cutout(path)
    np.testing.assert_array_equal(cutout.array, decode(path))
    assert (cutout.kind, cutout.bands) == ("rendered", ("red", "green", "blue"))
    assert (cutout.object_id, cutout.path) == ("NGC1", str(path))
    assert cutout.flags == Flags.NONE


def test_pixels_outlive_the_decoder(tmp_path: Path) -> None:
    # The array looks into Pillow's memory; it must keep that memory alive.
    path = write_jpeg(tmp_path / "a.jpg")
    arrays = [read_cutout(path).array for _ in range(20)]
    expected = decode(path)
    for array in arrays:
        np.testing.assert_array_equal(array, expected)


def test_older_pillow_without_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jpeg(tmp_path / "a.jpg")
    monkeypatch.delattr(Image.Image, "__arrow_c_array__")
    np.testing.assert_array_equal(read_cutout(path).array, decode(path))


def test_image_of_several_memory_blocks(tmp_path: Path) -> None:
    pixels = np.tile(RGB, (36, 36, 1))
    path = save(tmp_path / "a.jpg", pixels)
    np.testing.assert_array_equal(read_cutout(path).array, decode(path))


def test_jpeg_at_a_part_of_its_size(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg", side=424)
    full = read_cutout(path).array.astype(float)
    cutout = read_cutout(path, options=ReadOptions(min_side=200))
    assert cutout.array.shape == (3, 212, 212)
    assert cutout.notes["reduced"] == "2"
    means = full.reshape(3, 212, 2, 212, 2).mean(axis=(2, 4))
    assert np.abs(means - cutout.array).mean() < 1
    assert read_cutout(path, options=ReadOptions(min_side=213)).array.shape == (3, 424, 424)


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    for suffix in ("jpg", "png", "tif", "webp"):
        options = {"lossless": True} if suffix == "webp" else {}
        path = save(tmp_path / f"a.{suffix}", RGB, exif=exif, **options)
        with Image.open(path) as image:
            assert image.getexif().get(0x0112) == 6
        cutout = read_cutout(path)
        assert np.abs(cutout.array.astype(int) - PLANES).mean() < 3, suffix


def test_grey_jpeg_and_png(tmp_path: Path) -> None:
    for suffix in ("jpg", "png"):
        cutout = read_cutout(save(tmp_path / f"a.{suffix}", GREY))
        assert cutout.array.shape == (3, 64, 64)
        assert cutout.flags == Flags.OUTSIDE_COLOUR_DOMAIN
        assert np.abs(cutout.array.astype(int) - GREY).mean() < 2


def test_png_of_sixteen_bits(tmp_path: Path) -> None:
    values = (make_profile() * 65535).astype(np.uint16)
    cutout = read_cutout(save(tmp_path / "a.png", values))
    assert cutout.array.dtype == np.float32
    np.testing.assert_allclose(cutout.array[0], values / 65535, atol=1e-6)


def test_png_of_sixteen_bit_colours(tmp_path: Path) -> None:
    rows = b"".join(
        b"\0" + np.repeat(row.reshape(-1), 2).tobytes() for row in RGB
    )  # high and low byte alike
    header = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(make_png(header, zlib.compress(rows)))
    cutout = read_cutout(tmp_path / "a.png")
    scale = 255 if cutout.array.dtype == np.uint8 else 1
    np.testing.assert_allclose(cutout.array / scale, PLANES / 255, atol=1 / 255)


def test_transparent_pixels_are_laid_on_black(tmp_path: Path) -> None:
    alpha = np.full((64, 64, 1), 255, dtype=np.uint8)
    alpha[:10] = 0
    alpha[10:20] = 128
    cutout = read_cutout(save(tmp_path / "a.png", np.concatenate([RGB, alpha], axis=2)))
    assert not cutout.array[:, :10].any()
    np.testing.assert_array_equal(cutout.array[:, 20:], PLANES[:, 20:])
    np.testing.assert_allclose(cutout.array[:, 10:20], PLANES[:, 10:20] * (128 / 255), atol=0.5)


def test_grey_with_alpha(tmp_path: Path) -> None:
    pixels = np.stack([GREY, np.full_like(GREY, 255)], axis=2)
    path = tmp_path / "a.png"
    Image.merge("LA", [Image.fromarray(p) for p in pixels.transpose(2, 0, 1)]).save(path)
    cutout = read_cutout(path)
    np.testing.assert_array_equal(cutout.array[2], GREY)
    assert cutout.flags == Flags.OUTSIDE_COLOUR_DOMAIN


def test_one_transparent_colour(tmp_path: Path) -> None:
    white = np.full((32, 32, 3), 255, dtype=np.uint8)
    white[8:, 8:] = RGB[:24, :24] // 2
    save(tmp_path / "a.png", white, transparency=(255, 255, 255))
    cutout = read_cutout(tmp_path / "a.png")
    assert not cutout.array[:, :8].any()
    np.testing.assert_array_equal(cutout.array[:, 8:, 8:], PLANES[:, :24, :24] // 2)
    save(tmp_path / "b.png", white[:, :, 0], transparency=255)
    cutout = read_cutout(tmp_path / "b.png")
    assert not cutout.array[:, :8].any()
    np.testing.assert_array_equal(cutout.array[1, 8:, 8:], GREY[:24, :24] // 2)
    assert cutout.flags == Flags.OUTSIDE_COLOUR_DOMAIN


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(256)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_cutout(tmp_path / "a.png").array, expected)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).convert("CMYK")
    image.save(tmp_path / "a.jpg", quality=98)
    assert np.abs(read_cutout(tmp_path / "a.jpg").array.astype(int) - PLANES).mean() < 3


def test_tiff_of_several_pages_says_that_the_first_was_taken(tmp_path: Path) -> None:
    first, second = Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    cutout = read_cutout(tmp_path / "a.tif")
    np.testing.assert_array_equal(cutout.array, RGB.transpose(2, 0, 1))
    assert cutout.notes == {"page": "the first of several"}


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff(tmp_path: Path, compression: str | None) -> None:
    path = save(tmp_path / "a.tif", RGB, compression=compression)
    np.testing.assert_array_equal(read_cutout(path).array, PLANES)


def test_float_tiff_in_the_unit_interval_is_rendered(tmp_path: Path) -> None:
    cutout = read_cutout(save(tmp_path / "a.tif", make_profile()))
    assert cutout.kind == "rendered"
    np.testing.assert_array_equal(cutout.array[1], make_profile())


def test_float_tiff_beyond_it_is_flux(tmp_path: Path) -> None:
    profile = make_profile() / make_profile().max()
    for flux in (50 * profile - 1, 1.01 * profile, profile - 0.01):
        cutout = read_cutout(save(tmp_path / "a.tif", flux.astype(np.float32)))
        assert (cutout.kind, cutout.bands) == ("flux", ("unknown",))
        np.testing.assert_array_equal(cutout.array[0], flux.astype(np.float32))


def test_float_colour_tiff_by_tifffile(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", (RGB / 255).astype(np.float64), photometric="rgb")
    cutout = read_cutout(tmp_path / "a.tif")
    np.testing.assert_allclose(cutout.array, PLANES / 255, atol=1e-6)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour_tiff_of_sixteen_bits_keeps_them(tmp_path: Path, planar: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = PLANES.astype(np.uint16) * 16 + 3  # twelve bits
    pixels = deep.transpose(1, 2, 0) if planar == "contig" else deep
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig=planar)
    cutout = read_cutout(tmp_path / "a.tif")
    assert cutout.kind == "rendered"
    np.testing.assert_allclose(cutout.array, deep / 65535, atol=1e-7)


def test_tiff_of_four_bands(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    flux = (make_profile()[:, :, None] * [1, 2, 3, 4]).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", flux, photometric="rgb", extrasamples=[0])
    cutout = read_cutout(tmp_path / "a.tif", options=ReadOptions(bands=("g", "r", "i", "z")))
    assert cutout.bands == ("g", "r", "i", "z")
    np.testing.assert_array_equal(cutout.array, flux.transpose(2, 0, 1))


def test_without_tifffile_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", (RGB / 255).astype(np.float64), photometric="rgb")
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r"tifffile is needed to read .*a\.tif"):
        read_cutout(tmp_path / "a.tif")


def test_webp(tmp_path: Path) -> None:
    path = save(tmp_path / "a.webp", RGB, lossless=True)
    np.testing.assert_array_equal(read_cutout(path).array, PLANES)


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(read_cutout(path.rename(tmp_path / "a.JPG")).array, PLANES)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_truncated_raster(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", RGB)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=rf"a\.{suffix}: the .* is damaged or cut short"):
        read_cutout(path)


def make_png(header: bytes, data: bytes) -> bytes:
    """A PNG file of one header and one data chunk."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_decompression_bomb_in_png() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = make_png(header, zlib.compress(bytes(1 << 20)))
    with pytest.raises(ImageTooLargeError, match="60000 x 60000 pixels in 3 channels"):
        read_raster(data, "PNG", ReadOptions())


def test_decompression_bomb_in_webp() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.fromarray(RGB).save(stream, "WEBP", lossless=True, exif=exif)
    data = bytearray(stream.getvalue())
    assert data[12:16] == b"VP8X"
    data[24:30] = (16382).to_bytes(3, "little") * 2
    with pytest.raises(ImageTooLargeError, match="16383 x 16383"):
        read_raster(bytes(data), "WEBP", ReadOptions())


def test_jpeg_with_thousands_of_scans(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(data[:-2] + scan * 500 + data[-2:])
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: more than 100 JPEG scans"):
        read_cutout(tmp_path / "a.jpg")


def test_pixel_scale_is_taken_where_the_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "galaxy.jpg"
    Image.fromarray(np.full((96, 96, 3), 40, np.uint8)).save(path)
    full = read_cutout(path, options=ReadOptions(pixel_scale=0.4))
    assert full.pixel_scale == pytest.approx(0.4)
    half = read_cutout(path, options=ReadOptions(pixel_scale=0.4, min_side=48))
    assert half.array.shape == (3, 48, 48)
    assert half.pixel_scale == pytest.approx(0.8)
    with pytest.raises(ValueError, match="pixel_scale must be a positive number"):
        ReadOptions(pixel_scale=0)
