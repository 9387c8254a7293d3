"""Every way by which flux comes in against a naive reference, row by row.

The reference opens the file with astropy, makes colours of the whole frame by the published
formula, crops, resizes with Pillow, and runs the encoder as it was trained, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from astropy.io import fits
from PIL import Image
from synthetic import make_flux, make_header

from galmorph.images.discover import discover_sources
from galmorph.images.mosaic import Position, mosaic_sources
from galmorph.images.source import Source
from galmorph.inference.engine import EngineOptions, run_inference
from galmorph.model import Model
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions

Array = npt.NDArray[Any]

CARDS = {"SURVEY": "DECaLS", "BANDS": "grz"}
COUNT = 6


def render_naively(planes: Array) -> Array:
    """The Legacy Surveys' grz, as STRETCHES.md states it; row 0 at the bottom to row 0 on top."""
    scales = np.array([6, 3.4, 2.2])[:, None, None]
    g, r, z = scales * planes + 0.03
    mean = sum(np.maximum(0, channel) for channel in (g, r, z)) / 3
    mean = np.where(mean == 0, 1e-6, mean)
    factor = np.arcsinh(20 * mean) / (np.sqrt(20) * mean)
    return np.clip(np.stack([z, r, g]) * factor, 0, 1)[:, ::-1].astype(np.float32)


def embed_naively(model: Model, planes: Array, crop: float | None = None) -> Array:
    """Of flux as stored."""
    steps, colours = model.preprocessing, render_naively(planes)
    height, width = colours.shape[1:]
    side = min(height, width) * (steps.crop if crop is None else crop)
    left, top = (width - side) / 2, (height - side) / 2
    x0, y0 = int(left), int(top)  # no filter reaches beyond the pixels that the field touches
    x1, y1 = int(np.ceil(left + side)), int(np.ceil(top + side))
    box = (left - x0, top - y0, left - x0 + side, top - y0 + side)
    size = (steps.img_size, steps.img_size)
    small = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(
            size, Image.Resampling.BILINEAR, box=box
        )
        for plane in colours[:, y0:y1, x0:x1]
    ]
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (steps.mean, steps.std))
    pixels = ((np.stack([np.asarray(image) for image in small]) - mean) / std).astype(np.float32)
    with torch.inference_mode():
        found: Array = model.encoder(torch.from_numpy(pixels[None])).numpy()[0]
    return found


def check(model: Model, sources: Iterable[Source], expected: list[Array], **stages: Any) -> None:
    options = EngineOptions(device="cpu", precision="float32", batch_size=4, workers=2)
    rendering = RenderOptions(stretch="legacysurvey")
    blocks = list(run_inference(model, sources, options=options, rendering=rendering, **stages))
    assert [row.message for block in blocks for row in block.rows] == [""] * len(expected)
    found = np.concatenate([block.embeddings for block in blocks])
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def write_cube(path: Path, flux: Array) -> None:
    fits.PrimaryHDU(flux, make_header(**CARDS)).writeto(path)


def write_rice(path: Path, flux: Array) -> None:
    tiles = fits.CompImageHDU(flux, make_header(**CARDS), quantize_method=1, dither_seed=5)
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(path)


def write_hcompress(path: Path, flux: Array) -> None:
    whole = (flux * 1000).astype(np.int32)
    whole[whole == 0] = 1  # there nothing was observed
    tiles = fits.CompImageHDU(whole, make_header(**CARDS), compression_type="HCOMPRESS_1")
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(path)


def write_extensions(path: Path, flux: Array) -> None:
    hdus = [fits.ImageHDU(p, make_header(FILTER=b)) for b, p in zip("grz", flux, strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)


@pytest.mark.parametrize("write", [write_cube, write_rice, write_hcompress, write_extensions])
def test_files(model: Model, tmp_path: Path, write: Callable[[Path, Array], None]) -> None:
    expected = []
    for number in range(COUNT):
        path = tmp_path / f"g{number}.fits"
        write(path, make_flux(side=90 + number, seed=number))
        with fits.open(path) as hdus:
            planes = [hdu.data for hdu in hdus if hdu.data is not None]
            whole = planes[0] if planes[0].ndim == 3 else np.stack(planes)
            expected.append(embed_naively(model, np.array(whole, dtype=np.float32)))
    check(model, discover_sources(tmp_path), expected)


def test_one_file_per_band(model: Model, tmp_path: Path) -> None:
    expected = []
    for number in range(COUNT):
        flux = make_flux(side=80, seed=number)
        for band, plane in zip("grz", flux, strict=True):
            fits.PrimaryHDU(plane, make_header(FILTER=band)).writeto(
                tmp_path / f"g{number}_{band}.fits"
            )
        expected.append(embed_naively(model, flux))
    check(model, discover_sources(tmp_path, bands_from_name="{id}_{band}.fits"), expected)


def test_a_stack(model: Model, tmp_path: Path) -> None:
    stack = np.stack([make_flux(side=80, seed=number) for number in range(COUNT)])
    np.save(tmp_path / "stack.npy", stack)
    expected = [embed_naively(model, flux[:, ::-1]) for flux in stack]  # row 0 on top
    read = ReadOptions(bands=("g", "r", "z"))
    check(model, discover_sources(tmp_path / "stack.npy"), expected, read=read)


def test_positions_in_a_mosaic(model: Model, tmp_path: Path) -> None:
    flux = make_flux(side=300, seed=1)
    header = make_header(**CARDS, CRPIX1=150.0, CRPIX2=150.0)
    fits.PrimaryHDU(flux, header).writeto(tmp_path / "mosaic.fits")
    side, scale = 61, 0.262
    positions, expected = [], []
    for number, (x, y) in enumerate([(149, 149), (60, 200), (230, 71), (100, 100)]):
        east, north = (149 - x) * scale / 3600, (y - 149) * scale / 3600
        dec = header["CRVAL2"] + north
        ra = header["CRVAL1"] + east / np.cos(np.radians(header["CRVAL2"]))
        positions.append(Position(f"p{number}", ra, dec))
        rows, columns = (slice(n - side // 2, n + side // 2 + 1) for n in (y, x))
        expected.append(embed_naively(model, flux[:, rows, columns], crop=1.0))
    sources = mosaic_sources(tmp_path / "mosaic.fits", positions, fov=side * scale)
    check(model, sources, expected, field=FieldOptions(crop=1.0))
