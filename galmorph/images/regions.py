"""A square of sky out of a larger FITS image, without reading the rest."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.cutout import Array, drop_axes, find_image_axes, find_image_shape
from galmorph.images.fits_files import Cards
from galmorph.images.sky import SkyFrame, Tan, frame_at, to_pixel
from galmorph.images.source import Region
from galmorph.images.wcs_cards import to_number

ROUNDING = 1e-6  # pixels by which a position that is meant to lie between two pixels may be off
STOKES_I = 1  # of the axis STOKES (FITS 4.0, table 28)
NO_WCS = "no WCS, so a field of view cannot be cut out"


@dataclass(frozen=True, slots=True)
class Window:
    """A square of pixels that may reach beyond the image."""

    x: int  # first column and row, with row 0 at the bottom; negative outside
    y: int
    side: int
    frame: SkyFrame

    def __str__(self) -> str:
        return f"x {self.x}:{self.x + self.side}, y {self.y}:{self.y + self.side}"

    def padded(self, rows: int, columns: int) -> bool:
        """Whether part of the square lies outside an image of this size."""
        return any(part.stop - part.start < self.side for part in self.find_inside(rows, columns))

    def find_inside(self, rows: int, columns: int) -> tuple[slice, slice]:
        """Rows and columns of the part of the square that lies in an image of this size."""
        end_x, end_y = self.x + self.side, self.y + self.side
        return slice(max(self.y, 0), min(end_y, rows)), slice(max(self.x, 0), min(end_x, columns))


def find_region(wcs: Any, shape: tuple[int, int], region: Region, remark: str = "") -> Window:
    """Pixels of a square of sky in an image; NaN for its middle and shorter side."""
    if wcs is None:
        raise UnsupportedImageError(f"{NO_WCS} ({remark})" if remark else NO_WCS)
    find = _find_on_tan if isinstance(wcs, Tan) else _find_region
    return find(wcs, shape, region, remark)


def _find_region(wcs: Any, shape: tuple[int, int], region: Region, remark: str) -> Window:
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    if not math.isnan(region.ra):
        x, y = to_pixel(wcs, region.ra, region.dec)
    if not (-0.5 <= x < shape[1] - 0.5 and -0.5 <= y < shape[0] - 0.5):
        raise UnsupportedImageError(
            f"the position RA {region.ra:.6f} Dec {region.dec:.6f} is outside the image"
        )
    pixel_scale = frame_at(wcs, x, y).pixel_scale
    if math.isnan(pixel_scale):
        raise UnsupportedImageError(NO_WCS)
    side = min(shape) if math.isnan(region.fov) else max(1, round(region.fov / pixel_scale))
    left, bottom = (math.floor(place - side / 2 + 1 - ROUNDING) for place in (x, y))
    frame = frame_at(wcs, left + (side - 1) / 2, bottom + (side - 1) / 2)
    return Window(left, bottom, side, replace(frame, remark=remark) if remark else frame)


_find_on_tan = lru_cache(maxsize=8)(_find_region)  # bands of a mosaic share a grid


def find_size(hdu: Any) -> tuple[int, int]:
    """Rows and columns of the image of an HDU."""
    return find_image_shape(_without_stokes(hdu)[0])


def _without_stokes(hdu: Any) -> tuple[list[int], list[slice], bool]:
    """Shape with one polarization, what to take of each axis, and whether there are others."""
    shape, cards = [int(length) for length in hdu.shape], Cards(hdu.header)
    taken = [slice(None)] * len(shape)
    for axis, length in enumerate(shape):
        n = len(shape) - axis
        if length > 1 and str(cards.get(f"CTYPE{n}", "")).strip().upper() == "STOKES":
            keys = (f"CRPIX{n}", f"CRVAL{n}", f"CDELT{n}")
            at, value, step = (to_number(cards.get(key, 1)) for key in keys)
            place = (STOKES_I - value) / step + at - 1 if step else 0.0
            first = int(place) if place in range(length) else 0
            shape[axis], taken[axis] = 1, slice(first, first + 1)
            return shape, taken, True
    return shape, taken, False


def read_pixels(hdu: Any, box: Window | None = None) -> tuple[Array, dict[str, str]]:
    """Planes (band, y, x) of an HDU or a square in it, row 0 at the bottom, and notes."""
    shape, taken, polarized = _without_stokes(hdu)
    cards = Cards(hdu.header)
    notes = {"polarization": "Stokes I"} if polarized else {}
    blank = _find_blank(cards)
    if box is not None:
        y, x = find_image_axes(shape)
        taken[y], taken[x] = box.find_inside(shape[y], shape[x])
    # pixels in memory have perhaps been changed since they were read
    pixels = hdu.data if box is None or "data" in vars(hdu) else hdu.section
    if pixels is None:
        raise UnreadableImageError("the HDU has no data")
    piece = _blank_to_nan(drop_axes(np.asarray(pixels[tuple(taken)]), shape), blank)
    if (counts := _undo_asinh(piece, cards)) is not None:
        piece, notes["counts"] = counts, "from asinh magnitudes (BSOFTEN, BOFFSET)"
    return piece if box is None else _pad(piece, box), notes


def _pad(piece: Array, box: Window) -> Array:
    """Fill what the square has beyond the image, of which it holds all that was read."""
    if piece.shape[1:] == (box.side, box.side):
        return piece
    shape = (piece.shape[0], box.side, box.side)
    padded = np.zeros(shape, dtype=piece.dtype.newbyteorder("="))
    for plane, values in zip(padded, piece, strict=True):
        finite = values[np.isfinite(values)]
        plane[...] = np.median(finite) if finite.size else 0
    x, y = max(-box.x, 0), max(-box.y, 0)
    padded[:, y : y + piece.shape[1], x : x + piece.shape[2]] = piece
    return padded


def _undo_asinh(array: Array, header: Mapping[str, Any]) -> Array | None:
    """Counts of asinh magnitudes of Pan-STARRS (Waters et al. 2020, ApJS 251, 4); else None."""
    soft, offset = (to_number(header.get(key)) for key in ("BSOFTEN", "BOFFSET"))
    if not (0 < soft < math.inf and math.isfinite(offset)):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        counts = offset + 2 * soft * np.sinh(array.astype(np.float64) * (math.log(10) / 2.5))
        return np.asarray(counts, dtype=np.float32)


def _find_blank(header: Mapping[str, Any]) -> float:
    """Value of blank pixels that astropy leaves as integers; asked before it changes the header."""
    blank = header.get("BLANK", header.get("ZBLANK"))
    if isinstance(blank, bool) or not isinstance(blank, int):
        return math.nan
    return blank + float(header.get("BZERO", 0))


def _blank_to_nan(array: Array, blank: float) -> Array:
    """Make NaN of the blank pixels of an integer array; see `_find_blank`."""
    if math.isnan(blank) or array.dtype.kind not in "iu":
        return array
    bad = array == blank
    return np.where(bad, np.float32(np.nan), array.astype(np.float32)) if bad.any() else array
