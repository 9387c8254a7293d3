"""Make the example cutouts: simulated galaxies, as SDSS and DECaLS would show them.

Run from the repository: python examples/make_examples.py [FOLDER]

Every galaxy is a sum of Sersic components (bulge, disk with spiral arms or a bar, edge-on disk
with a dust lane) in nanomaggies, blurred by a Moffat PSF, with stars, neighbours and noise. The
JPEG files are framed as Galaxy Zoo 2 framed its own: 424 px that span 8.48 Petrosian radii (R90).
Nothing in them comes from a real image.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from galmorph.images.cutout import Cutout
from galmorph.preprocessing.render import render
from galmorph.settings import RenderOptions

Array = npt.NDArray[np.float64]

OVERSAMPLING = 3
FRAME_RADII = 8.48
"""Side of a frame in units of R90: 424 px of 0.02 R90 each."""

JPEG_SIZE = 424
HALF_TO_R90 = {0.5: 1.55, 1.0: 2.32, 2.0: 3.3, 4.0: 5.0}
"""R90 / R50 of a Sersic profile, rounded; only the framing depends on it."""


@dataclass(frozen=True)
class Survey:
    """Camera and sky: arcsec per pixel, FWHM in arcsec, noise per pixel and band in nanomaggies."""

    pixel_scale: float
    fwhm: float
    bands: tuple[str, str, str]
    noise: tuple[float, float, float]


SDSS = Survey(0.396, 1.3, ("g", "r", "i"), (0.013, 0.018, 0.027))
DECALS = Survey(0.262, 1.2, ("g", "r", "z"), (0.003, 0.0045, 0.011))

# Flux per band relative to r: old and young stars.
OLD = {"g": 0.46, "r": 1.0, "i": 1.52, "z": 1.95}
YOUNG = {"g": 0.76, "r": 1.0, "i": 1.17, "z": 1.3}


@dataclass(frozen=True)
class Part:
    """One component: its light in the plane of the sky (sum 1) and its colours."""

    light: Callable[[Array, Array], Array]
    magnitude: float
    colours: dict[str, float]


def rotate(x: Array, y: Array, degrees: float) -> tuple[Array, Array]:
    """Coordinates along and across an axis that is turned counterclockwise."""
    angle = np.deg2rad(degrees)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def sersic(half_radius: float, n: float, axis_ratio: float, degrees: float) -> Any:
    """Sersic profile with elliptical isophotes."""
    b = 2 * n - 1 / 3 + 0.009876 / n

    def light(x: Array, y: Array) -> Array:
        u, v = rotate(x, y, degrees)
        r = np.hypot(u, v / axis_ratio) / half_radius
        return np.asarray(np.exp(-b * r ** (1 / n)))

    return light


def spiral_disk(
    half_radius: float,
    axis_ratio: float,
    degrees: float,
    *,
    arms: int,
    pitch: float,
    strength: float,
    bar: float = 0.0,
) -> Any:
    """Exponential disk whose light is gathered in logarithmic arms that start outside the bar."""
    disk = sersic(half_radius, 1.0, axis_ratio, degrees)

    def light(x: Array, y: Array) -> Array:
        u, v = rotate(x, y, degrees)
        r, theta = np.hypot(u, v / axis_ratio), np.arctan2(v / axis_ratio, u)
        start = max(bar, 0.25 * half_radius)
        phase = arms * (theta - np.log(np.maximum(r, start) / start) / np.tan(np.deg2rad(pitch)))
        ridge = np.exp(2.5 * (np.cos(phase) - 1))
        fade = 1 / (1 + np.exp(-(r - start) / (0.12 * half_radius)))
        return np.asarray(disk(x, y) * (1 - 0.5 * strength * fade + 3.0 * strength * fade * ridge))

    return light


def bar(length: float, axis_ratio: float, degrees: float) -> Any:
    """Boxy bar with a sharp end."""

    def light(x: Array, y: Array) -> Array:
        u, v = rotate(x, y, degrees)
        r = (np.abs(u / length) ** 3 + np.abs(v / (axis_ratio * length)) ** 3) ** (1 / 3)
        return np.asarray(np.clip(1 - r**2, 0, None) ** 1.5)

    return light


def edge_on_disk(half_radius: float, thickness: float, degrees: float, dust: float) -> Any:
    """Disk seen from its edge, with a dust lane."""
    length = half_radius / 1.678

    def light(x: Array, y: Array) -> Array:
        u, v = rotate(x, y, degrees)
        stars = np.exp(-np.abs(u) / length) / np.cosh(v / (thickness * length)) ** 2
        lane = np.exp(-0.5 * (v / (0.25 * thickness * length)) ** 2) * np.exp(-np.abs(u) / length)
        return np.asarray(stars * (1 - dust * lane))

    return light


@dataclass(frozen=True)
class Galaxy:
    """What one example shows; radius is R90 in arcsec."""

    name: str
    radius: float
    parts: tuple[Part, ...]
    neighbours: int = 2


def blur(image: Array, fwhm: float) -> Array:
    """Convolve with a Moffat PSF (beta 3); fwhm in pixels of the image."""
    size = image.shape[0]
    y, x = np.mgrid[:size, :size] - size // 2
    core = fwhm / (2 * np.sqrt(2 ** (1 / 3) - 1))
    psf = (1 + (x**2 + y**2) / core**2) ** -3.0
    spectrum = np.fft.rfft2(np.fft.ifftshift(psf / psf.sum()))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(image) * spectrum, s=image.shape))


def sum_light(
    parts: tuple[Part, ...], band: str, size: int, pixel_scale: float, offset: tuple[float, float]
) -> Array:
    """Flux of all parts in nanomaggies per fine pixel."""
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * pixel_scale / OVERSAMPLING
    x, y = x - offset[0], y - offset[1]
    image = np.zeros((size, size))
    for part in parts:
        light = part.light(x, y)
        flux = 10 ** (0.4 * (22.5 - part.magnitude)) * part.colours[band]
        image += flux * light / light.sum()
    return image


def observe(galaxy: Galaxy, survey: Survey, size: int, rng: np.random.Generator) -> Array:
    """Image a galaxy, (band, y, x) in nanomaggies, row 0 at the top."""
    side = size * survey.pixel_scale
    others = [make_neighbour(side, rng) for _ in range(galaxy.neighbours)]
    planes = []
    for band, noise in zip(survey.bands, survey.noise, strict=True):
        fine = sum_light(galaxy.parts, band, OVERSAMPLING * size, survey.pixel_scale, (0, 0))
        for part, offset in others:
            fine += sum_light((part,), band, OVERSAMPLING * size, survey.pixel_scale, offset)
        fine = blur(fine, OVERSAMPLING * survey.fwhm / survey.pixel_scale)
        blocks = fine.reshape(size, OVERSAMPLING, size, OVERSAMPLING).sum(axis=(1, 3))
        planes.append(blocks + rng.normal(0.0, noise, blocks.shape))
    return np.stack(planes)


def make_neighbour(side: float, rng: np.random.Generator) -> tuple[Part, tuple[float, float]]:
    """A star or a faint galaxy, away from the middle."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.46) * side
    offset = (distance * np.cos(angle), distance * np.sin(angle))
    if rng.random() < 0.5:
        star = Part(sersic(0.15, 0.5, 1.0, 0.0), rng.uniform(17.5, 20.0), OLD)
        return star, offset
    shape = sersic(rng.uniform(0.6, 1.5), 1.0, rng.uniform(0.3, 1.0), rng.uniform(0, 180))
    return Part(shape, rng.uniform(18.5, 20.5), YOUNG), offset


def smooth(name: str, half: float, q: float, degrees: float, magnitude: float) -> Galaxy:
    """An early-type galaxy: n = 4 and a halo."""
    inner = Part(sersic(half, 4.0, q, degrees), magnitude, OLD)
    halo = Part(sersic(1.6 * half, 1.0, q, degrees), magnitude + 1.0, OLD)
    return Galaxy(name, 2.6 * half, (inner, halo))


def edge_on(name: str, half: float, degrees: float, magnitude: float, bulge: float) -> Galaxy:
    """A disk galaxy seen from its edge."""
    disk = Part(edge_on_disk(half, 0.2, degrees, 0.4), magnitude, YOUNG)
    core = Part(sersic(0.18 * half, 2.0, 0.75, degrees), magnitude + bulge, OLD)
    return Galaxy(name, HALF_TO_R90[1.0] * half, (disk, core))


def spiral(
    name: str, half: float, q: float, degrees: float, magnitude: float, **arms: Any
) -> Galaxy:
    """A disk galaxy with arms, and a bar where its length is given."""
    length = arms.get("bar", 0.0)
    parts = [
        Part(spiral_disk(half, q, degrees, **arms), magnitude, YOUNG),
        Part(sersic(0.16 * half, 2.0, max(q, 0.7), degrees), magnitude + 1.8, OLD),
    ]
    if length:
        parts.append(Part(bar(length, 0.28 * max(q, 0.6), degrees), magnitude + 1.6, OLD))
    return Galaxy(name, HALF_TO_R90[1.0] * half, tuple(parts))


JPEG_GALAXIES = (
    smooth("round_1", 2.9, 0.95, 20, 15.6),
    smooth("round_2", 2.5, 0.90, 100, 16.0),
    smooth("in_between_1", 3.0, 0.62, 35, 15.8),
    smooth("in_between_2", 2.7, 0.55, 150, 16.1),
    smooth("cigar_1", 3.4, 0.30, 70, 15.9),
    edge_on("edge_on_1", 5.0, 25, 15.9, 1.6),
    edge_on("edge_on_2", 4.4, 115, 16.1, 1.2),
    spiral("spiral_1", 4.4, 0.90, 40, 15.0, arms=2, pitch=22, strength=0.8),
    spiral("spiral_2", 4.0, 0.70, 120, 15.3, arms=2, pitch=17, strength=0.7),
    spiral("spiral_barred_1", 4.4, 0.80, 75, 15.1, arms=2, pitch=20, strength=0.8, bar=2.2),
)
FITS_GALAXIES = (
    (smooth("decals_round_1", 2.0, 0.92, 60, 15.8), 160, ".fits"),
    (
        spiral("decals_spiral_1", 3.6, 0.85, 10, 15.4, arms=2, pitch=20, strength=0.8),
        256,
        ".fits.fz",
    ),
    (edge_on("decals_edge_on_1", 3.4, 140, 16.0, 2.2), 256, ".fits.fz"),
)


def write_jpeg(galaxy: Galaxy, folder: Path, rng: np.random.Generator) -> Path:
    """Write a colour JPEG, scaled to the galaxy as Galaxy Zoo 2 did."""
    size = round(FRAME_RADII * galaxy.radius / SDSS.pixel_scale)
    flux = observe(galaxy, SDSS, size, rng).astype(np.float32)
    cutout = Cutout(flux, SDSS.bands, "flux", galaxy.name, survey="sdss", unit="nanomaggy")
    colours = render(cutout, options=RenderOptions(stretch="sdss")).array
    pixels = (np.clip(colours, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    path = folder / f"{galaxy.name}.jpg"
    image.resize((JPEG_SIZE, JPEG_SIZE), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def write_fits(
    galaxy: Galaxy, size: int, suffix: str, folder: Path, rng: np.random.Generator
) -> Path:
    """Write a grz cube in nanomaggies, with WCS, as cutout services send it."""
    from astropy.io import fits

    cube = observe(galaxy, DECALS, size, rng)[:, ::-1].astype(np.float32)
    header = fits.Header()
    cards = {
        "SURVEY": "LegacySurvey",
        "BANDS": "".join(DECALS.bands),
        "BUNIT": "nanomaggy",
        "OBJECT": galaxy.name,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": round(float(rng.uniform(120, 240)), 5),
        "CRVAL2": round(float(rng.uniform(0, 30)), 5),
        "CRPIX1": (size + 1) / 2,
        "CRPIX2": (size + 1) / 2,
        "CD1_1": -DECALS.pixel_scale / 3600,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": DECALS.pixel_scale / 3600,
        "COMMENT": "Simulated",
    }
    header.update(cards)
    path = folder / f"{galaxy.name}{suffix}"
    if suffix.endswith(".fz"):
        # As the Legacy Surveys compress: dithered, with exact zeros kept (not observed there).
        hdu = fits.CompImageHDU(
            cube,
            header,
            compression_type="RICE_1",
            quantize_method=2,
            quantize_level=4,
            dither_seed=1,
        )
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    else:
        fits.PrimaryHDU(cube, header).writeto(path, overwrite=True)
    return path


def make_examples(folder: Path, *, seed: int = 20) -> list[Path]:
    """Write all examples and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rngs = np.random.default_rng(seed).spawn(len(JPEG_GALAXIES) + len(FITS_GALAXIES))
    paths = [
        write_jpeg(galaxy, folder, rng)
        for galaxy, rng in zip(JPEG_GALAXIES, rngs[: len(JPEG_GALAXIES)], strict=True)
    ]
    return paths + [
        write_fits(*what, folder, rng)
        for what, rng in zip(FITS_GALAXIES, rngs[len(JPEG_GALAXIES) :], strict=True)
    ]


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for made in make_examples(target):
        print(made)
