"""Simulated galaxies, so that the tests need no survey image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SKY_NOISE = 0.004  # nanomaggies per pixel, about a Legacy Surveys r-band coadd
BAND_FLUX = {"g": 0.6, "r": 1.0, "i": 1.25, "z": 1.5}


def make_profile(
    side: int = 64, *, radius: float = 6.0, ratio: float = 0.6, angle: float = 0.5
) -> npt.NDArray[np.float32]:
    """Exponential disk in the middle of a square frame, peak 1, row 0 on top."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    along = x * np.cos(angle) + y * np.sin(angle)
    across = (y * np.cos(angle) - x * np.sin(angle)) / ratio
    return np.exp(-np.hypot(along, across) / radius).astype(np.float32)


def make_flux(
    bands: tuple[str, ...] = ("g", "r", "z"), *, side: int = 64, peak: float = 0.3, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Flux (band, y, x) in nanomaggies per pixel, with sky noise."""
    noise = np.random.default_rng(seed).normal(0, SKY_NOISE, (len(bands), side, side))
    profile = make_profile(side)
    planes = [peak * BAND_FLUX.get(band, 1.0) * profile for band in bands]
    return (np.stack(planes) + noise).astype(np.float32)


def make_rgb(side: int = 64, *, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A rendered galaxy (y, x, 3) uint8, not the same seen in a mirror."""
    rng = np.random.default_rng(seed)
    pixels = 20 + 200 * make_profile(side)[:, :, None] * np.array([1.0, 0.85, 0.7])
    pixels[: side // 8, : side // 4] += 30  # a mark in the top left corner
    return np.clip(pixels + rng.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)


def make_header(**cards: Any) -> Any:
    """FITS header with a plain WCS (0.262 arcsec, north up, east left) and the cards given."""
    from astropy.io import fits

    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 150.1, 2.2
    header["CRPIX1"], header["CRPIX2"] = 32.5, 32.5
    header["CD1_1"], header["CD1_2"] = -0.262 / 3600, 0.0
    header["CD2_1"], header["CD2_2"] = 0.0, 0.262 / 3600
    for key, value in cards.items():
        header[key] = value
    return header


def load_wcs(header: Any) -> tuple[Any, str]:
    """The WCS of astropy that the cards make, also where a run would do without; a remark."""
    from galmorph.images.sky import build_wcs
    from galmorph.images.wcs_cards import gather_cards, pick_wcs_cards

    return build_wcs(pick_wcs_cards(gather_cards(header)), None)


def as_stored(array: Any) -> Any:
    """Row 0 at the bottom, as FITS has it."""
    return np.ascontiguousarray(array[..., ::-1, :])


def write_fits(path: Path, array: Array, **cards: Any) -> Path:
    """Write an array whose row 0 is the top as FITS (row 0 at the bottom)."""
    from astropy.io import fits

    hdu = fits.PrimaryHDU(as_stored(array), make_header(**cards))
    hdu.writeto(path, overwrite=True)
    return path


def write_cards(path: Path, array: Array, cards: list[str]) -> Path:
    """Write float32 or int16 pixels below any cards, also those against the rules."""
    stored = as_stored(array)
    bits = {"f": -32, "i": 16}[stored.dtype.kind]
    sizes = [f"NAXIS{n}  = {length:>20}" for n, length in enumerate(stored.shape[::-1], 1)]
    head = [
        "SIMPLE  =                    T",
        f"BITPIX  = {bits:>20}",
        f"NAXIS   = {stored.ndim:>20}",
    ]
    header = b"".join(card.encode().ljust(80) for card in [*head, *sizes, *cards, "END"])
    pixels = stored.astype(">f4" if bits < 0 else ">i2").tobytes()
    blocks = (header, b" "), (pixels, b"\0")
    path.write_bytes(b"".join(part + fill * (-len(part) % 2880) for part, fill in blocks))
    return path


def write_jpeg(path: Path, *, side: int = 64, seed: int = 0) -> Path:
    """Write a rendered galaxy as JPEG."""
    from PIL import Image

    Image.fromarray(make_rgb(side, seed=seed)).save(path, quality=95, subsampling=0)
    return path


def write_bands(path: Path, cards: list[dict[str, Any]], planes: Any = None) -> Path:
    """One band per extension, each with its own cards."""
    from astropy.io import fits

    planes = make_flux() if planes is None else planes
    images = [
        fits.ImageHDU(as_stored(plane), make_header(FILTER=band, **own))
        for band, plane, own in zip("grz", planes, cards, strict=True)
    ]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path)
    return path


def resample(array: Array, box: Any, size: int) -> tuple[Array, bool]:
    """The box of an array (3, y, x) at that size, and whether it reaches beyond the frame."""
    from galmorph.preprocessing.geometry import resample_all

    return resample_all([(array, box)], size)[0]
