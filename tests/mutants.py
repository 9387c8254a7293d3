"""Damaged files: a seed of every format, and ways to break it. Shared with benchmarks/."""

from __future__ import annotations

import gzip
import io
import random
from typing import Any

import numpy as np
from synthetic import make_flux, make_header, make_rgb

HEADER_VALUES = (
    "-1", "0", "1", "2", "3", "7", "999", "100000", "2147483648", "9999999999999", "-32", "64",
    "'abc'", "T", "F", "1E300", "NaN", "",
)  # fmt: skip


def make_seeds() -> dict[str, bytes]:
    """One good file of every kind, by name."""
    return {**_make_fits_seeds(), **_make_raster_seeds()}


def _write(hdus: Any) -> bytes:
    stream = io.BytesIO()
    hdus.writeto(stream)
    return stream.getvalue()


def _make_fits_seeds() -> dict[str, bytes]:
    from astropy.io import fits

    flux = make_flux(side=40)
    cube = fits.PrimaryHDU(flux, make_header(BANDS="grz", SURVEY="DECaLS"))
    scaled = fits.PrimaryHDU(flux[0].astype(np.float64), make_header(FILTER="r"))
    scaled.scale("int16", bzero=1.0, bscale=1e-4)
    scaled.header["BLANK"] = -32768
    extension = [fits.ImageHDU(p, make_header(FILTER=b)) for b, p in zip("grz", flux, strict=True)]
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.arange(5.0))])
    seeds = {
        "cube": cube,
        "unnamed": fits.PrimaryHDU(flux),
        "scaled": scaled,
        "rgb": fits.PrimaryHDU(make_rgb(40).transpose(2, 0, 1)),
        "extensions": fits.HDUList([fits.PrimaryHDU(), table, *extension]),
    }
    integers = (flux[0] * 1000).astype(np.int16)
    for kind in ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"):
        pixels = np.abs(integers) if kind == "PLIO_1" else integers
        tiles = fits.CompImageHDU(pixels, make_header(FILTER="r"), compression_type=kind)
        seeds[kind.lower()] = fits.HDUList([fits.PrimaryHDU(), tiles])
    quantized = fits.CompImageHDU(flux[0], compression_type="RICE_1")
    seeds["rice_float"] = fits.HDUList([fits.PrimaryHDU(), quantized])
    written = {f"fits_{name}": _write(hdus) for name, hdus in seeds.items()}
    written["fits_gz"] = gzip.compress(written["fits_cube"], mtime=0)
    return written


def _make_raster_seeds() -> dict[str, bytes]:
    from PIL import Image

    rgb = Image.fromarray(make_rgb(48))
    deep = Image.fromarray(make_rgb(48)[:, :, 0].astype(np.uint16) * 257)
    floats = Image.fromarray(make_flux(side=48)[0])
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "jpeg": (rgb, "JPEG", {"quality": 90}),
        "jpeg_progressive": (rgb, "JPEG", {"progressive": True}),
        "jpeg_grey": (rgb.convert("L"), "JPEG", {}),
        "jpeg_cmyk": (rgb.convert("CMYK"), "JPEG", {}),
        "png": (rgb, "PNG", {}),
        "png_deep": (deep, "PNG", {}),
        "png_palette": (rgb.quantize(64), "PNG", {}),
        "png_alpha": (rgb.convert("RGBA"), "PNG", {}),
        "png_grey_alpha": (rgb.convert("LA"), "PNG", {}),
        "tiff": (rgb, "TIFF", {}),
        "tiff_lzw": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "tiff_jpeg": (rgb, "TIFF", {"compression": "jpeg"}),
        "tiff_float": (floats, "TIFF", {}),
        "webp": (rgb, "WEBP", {}),
        "webp_lossless": (rgb.convert("RGBA"), "WEBP", {"lossless": True}),
    }
    seeds = {}
    for name, (image, kind, options) in kinds.items():
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        seeds[name] = stream.getvalue()
    return seeds


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Break a file in one to four ways."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not broken:
            break
        way = rng.choice(WAYS)
        way(broken, rng)
    return bytes(broken)


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_bits_in_front(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(min(len(data), 600))] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 3000)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randint(1, 3000)]
    data[start:start] = piece * rng.randint(1, 5)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    value = rng.choice((0, 255, 127, 128, 65))
    for place in range(start, min(len(data), start + rng.randint(1, 200))):
        data[place] = value


def _large_number(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(min(len(data), 4000))
    data[start : start + 4] = rng.choice(
        (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\1\x86\xa0")
    )


def _change_card(data: bytearray, rng: random.Random) -> None:
    """Give a random FITS card a random value; in another file, overwrite 20 bytes."""
    cards = len(data) // 80
    if cards == 0:
        return
    start = 80 * rng.randrange(min(cards, 180)) + 10
    data[start : start + 20] = rng.choice(HEADER_VALUES).rjust(20).encode()


WAYS = (
    _flip_bits, _flip_bits_in_front, _cut, _remove, _repeat, _overwrite, _large_number,
    _change_card,
)  # fmt: skip
