"""Damaged files: a seed of every format, and ways to break it. Shared with benchmarks/."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tempfile
import zipfile
from pathlib import Path
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


def make_containers() -> dict[str, bytes]:
    """One good container of every kind, by the end of its name."""
    import h5py
    import pyarrow as pa
    import pyarrow.parquet as pq

    rasters = _make_raster_seeds()
    stack = np.stack([make_rgb(24, seed=n) for n in range(4)])
    beside = {"object_id": np.array(["a", "b", "c", "d"]), "ra": np.arange(4.0)}
    kinds = {"tar": "w", "tar.gz": "w:gz", "zip": "", "npy": "", "npz": "", "packed.npz": ""}
    made = {kind: io.BytesIO() for kind in (*kinds, "h5", "packed.h5", "files.h5", "parquet")}
    for kind in ("tar", "tar.gz"):
        with tarfile.open(fileobj=made[kind], mode=kinds[kind]) as tar:
            for name in ("jpeg", "png"):
                info = tarfile.TarInfo(f"{name}.jpg")
                info.size = len(rasters[name])
                tar.addfile(info, io.BytesIO(rasters[name]))
    with zipfile.ZipFile(made["zip"], "w") as archive:
        archive.writestr("a.jpg", rasters["jpeg"])
        archive.writestr("b.png", rasters["png"], zipfile.ZIP_DEFLATED)
    np.save(made["npy"], stack)
    np.savez(made["npz"], images=stack, **beside)
    np.savez_compressed(made["packed.npz"], images=stack, **beside)
    for kind in ("h5", "packed.h5"):
        packing = {"chunks": (2, 24, 24, 3), "compression": 4} if kind != "h5" else {}
        with h5py.File(made[kind], "w") as file:
            file.create_dataset("images", data=stack, **packing)
            file["ra"] = beside["ra"]
    with h5py.File(made["files.h5"], "w") as file:
        files = file.create_dataset("images", (2,), h5py.vlen_dtype("u1"))
        files[0] = files[1] = np.frombuffer(rasters["jpeg"], "u1")
    images = [{"bytes": rasters[name], "path": f"{name}.jpg"} for name in ("jpeg", "png")]
    rows = pa.table({"image": images, "object_id": ["a", "b"], "ra": [1.0, 2.0]})
    pq.write_table(rows, made["parquet"])
    return {kind: stream.getvalue() for kind, stream in made.items()}


def make_zarr() -> bytes:
    """A group of a stack and columns beside it, its files in a zip archive."""
    import zarr

    stream = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        group = zarr.open_group(folder, mode="w")
        stack = np.stack([make_rgb(24, seed=n) for n in range(4)])
        group.create_array("images", data=stack, chunks=(2, 24, 24, 3))
        group.create_array("ra", data=np.arange(4.0))
        with zipfile.ZipFile(stream, "w") as archive:
            for path in sorted(Path(folder).rglob("*")):
                archive.write(path, path.relative_to(folder))
    return stream.getvalue()


def mutate_member(data: bytes, rng: random.Random) -> bytes:
    """Break one file of a zip archive, which itself stays whole."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(stream, "w") as archive:
        broken = rng.choice([info for info in whole.infolist() if not info.is_dir()])
        for info in whole.infolist():
            inside = whole.read(info)
            archive.writestr(info, mutate(inside, rng) if info is broken else inside)
    return stream.getvalue()


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


PLAIN = {"CRVAL1": "150.1", "CRVAL2": "2.2", "CRPIX1": "8.5", "CRPIX2": "8.5", "EQUINOX": "2000.0"}
CD = {"CD1_1": "-7E-05", "CD1_2": "1E-06", "CD2_1": "1E-06", "CD2_2": "7E-05"}
SIP = {"A_ORDER": "3", "B_ORDER": "3", "A_2_0": "1E-05", "B_0_3": "1E-07", "B_1_1": "2E-05"}
PLATE_KEYS = ("PLTRAH", "PLTRAM", "PLTRAS", "PLTDECD", "PLTDECM", "PLTDECS", "CNPIX1", "CNPIX2")
RECORDS = ("EXTVER: 1", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2", "Coeff.1: 1.5", "OFFSET.1: 3")


def _name_axes(kind: str, first: str = "RA--", second: str = "DEC-") -> dict[str, str]:
    return {"CTYPE1": f"'{first}-{kind}'", "CTYPE2": f"'{second}-{kind}'", **PLAIN}


WCS_SEEDS: tuple[dict[str, str], ...] = (
    {**_name_axes("TAN"), **CD},
    {**_name_axes("SIN"), "CDELT1": "-7E-05", "CDELT2": "7E-05", "CROTA2": "30.0"},
    {**_name_axes("TAN-SIP"), **CD, **SIP, "AP_ORDER": "2", "BP_ORDER": "2", "AP_2_0": "1E-05"},
    {**_name_axes("TPV"), **CD, **{f"PV{i}_{m}": "1E-03" for i in (1, 2) for m in range(12)}},
    {**_name_axes("ZPN"), **CD, **{f"PV2_{m}": "0.1" for m in range(20)}, "LONPOLE": "180.0"},
    {**_name_axes("TNX"), **CD, "WAT1_001": "'wtype=tnx axtype=ra lngcor = \"3. 3. 3. 2. -1. 1.'",
     "WAT1_002": "' -1. 1. 0. 0. 0. 0. 0. 0. \"'", "WAT2_001": "'wtype=tnx axtype=dec'"},
    {**_name_axes("CAR", "GLON", "GLAT"), "PC1_1": "1.0", "PC2_2": "1.0", "CDELT1": "-0.01",
     "CDELT2": "0.01", "CUNIT1": "'deg'", "CUNIT2": "'arcmin'", "RADESYS": "'FK4'"},
    {**_name_axes("COE"), **CD, "PV2_1": "45.0", "PV2_2": "10.0", "LATPOLE": "90.0"},
    {**{key: "7" for key in PLATE_KEYS}, "PLTDECSN": "'-       '", "PLTSCALE": "67.2",
     "XPIXELSZ": "25.0", "YPIXELSZ": "25.0", **{f"PPO{n}": "177500.0" for n in (3, 6)},
     **{f"AMD{a}{n}": "67.2" if n == 1 else "1E-09" for a in "XY" for n in range(1, 14)}},
    {**_name_axes("TAN"), **CD, "CPDIS1": "'LOOKUP'", "CPDIS2": "'LOOKUP'", "D2IMDIS1": "'LOOKUP'",
     "CQDIS1": "'TPD'"},
)  # fmt: skip
ABSURD = ("0", "-1", "2", "7", "10", "999", "30000", "2147483648", "1E300", "-1E-300", "NaN", "inf")
RETYPED = ("T", "'abc'", "''", "", "'150.1'", "1,5", "(1.0, 2.0)", "'RA---TAB'", "'DEC--XYZ'")
STRANGE_KEYS = (
    "WCSAXES",
    "NAXIS3",
    "CTYPE3",
    "PV1_99",
    "PS2_0",
    "A_99_0",
    "A_9_9",
    "CD9_9",
    "PC3_3",
)
STRANGE_KEYS += (
    "A_ORDER",
    "B_ORDER",
    "AP_ORDER",
    "CPDIS9",
    "AXISCORR",
    "D2IMEXT",
    "EPOCH",
    "WAT1_001",
)


def make_header_mutant(rng: random.Random) -> bytes:
    """FITS of 16 x 16 pixels and two tables of distortions, with the cards of a WCS broken."""
    cards = list(rng.choice(WCS_SEEDS).items())
    if rng.random() < 0.3:  # records stand in the same card several times
        cards += [(rng.choice(("DP1", "DP2", "DQ1", "D2IM1")), f"'{r}'") for r in RECORDS]
    for _ in range(rng.randint(1, 6)):
        _break_cards(cards, rng)
    hdus = [_make_hdu(("SIMPLE", "T"), cards, b"\0\0\x80?" * 256)]
    for name in ("WCSDVARR", "D2IMARR"):
        grid = [("EXTNAME", f"'{name}'"), ("EXTVER", "1"), ("CDELT1", rng.choice(ABSURD[:9]))]
        hdus.append(_make_hdu(("XTENSION", "'IMAGE   '"), grid, bytes(1024)))
    return b"".join(hdus)


def _make_hdu(first: tuple[str, str], cards: list[tuple[str, str]], pixels: bytes) -> bytes:
    sizes = [("BITPIX", "-32"), ("NAXIS", "2"), ("NAXIS1", "16"), ("NAXIS2", "16")]
    lines = [f"{key:8}= {value:>20}" for key, value in (first, *sizes, *cards)]
    header = b"".join(line.encode().ljust(80)[:80] for line in (*lines, "END"))
    return header + b" " * (-len(header) % 2880) + pixels + bytes(-len(pixels) % 2880)


def _break_cards(cards: list[tuple[str, str]], rng: random.Random) -> None:
    """Double, swap, retype, remove or add a card, or give it an absurd value."""
    place, other = rng.randrange(len(cards)), rng.randrange(len(cards))
    key, value = cards[place]
    way = rng.randrange(7)
    if way == 0:
        cards[other:other] = [(key, value)] * rng.choice((1, 1, 2, 40, 3000))
    elif way == 1:
        cards[place], cards[other] = (key, cards[other][1]), (cards[other][0], value)
    elif way == 2:
        cards[place] = (key, rng.choice(RETYPED))
    elif way == 3 and len(cards) > 2:
        del cards[place]
    elif way == 4:
        cards.insert(other, (rng.choice(STRANGE_KEYS), rng.choice(ABSURD)))
    elif way == 5:
        cards.insert(other, (key, rng.choice((*ABSURD, *RETYPED))))
    else:
        cards[place] = (key, rng.choice(ABSURD))
