"""Bands of one field brought to one grid of pixels by their WCS."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from galmorph.errors import UnsupportedImageError
from galmorph.flags import Flags
from galmorph.images.calibration import Calibration, match_planes
from galmorph.images.cutout import Array, Cutout
from galmorph.images.library import import_extra
from galmorph.images.sky import SCALE_TOLERANCE, SkyFrame, explain_difference, find_offset, shift

Kind = Literal["rendered", "flux"]
TURN_TOLERANCE = 0.02  # pixels per pixel between two matrices; above, one image is resampled
# Units of brightness; all others count per pixel.
PER_AREA = re.compile(r"(?:sr|arcsec2?|deg2?)(?:\*\*|\^)?-[12]|/ ?(?:sr|arcsec|deg)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Planes:
    """Pixels (band, y, x) on one grid, as FITS has them: row 0 at the bottom."""

    array: Array
    frame: SkyFrame
    calibrations: Sequence[Calibration]  # of each plane
    flags: Flags = Flags.NONE
    notes: Mapping[str, str] = field(default_factory=dict)


class _Placed(NamedTuple):
    """An image on the grid of the finest: its first pixel, and the part that it fills (y, x)."""

    array: Array
    origin: Array
    low: Array
    high: Array


def bring_to_one_grid(
    arrays: Sequence[Array],
    frames: Sequence[SkyFrame],
    calibrations: Sequence[Calibration],
    flags: Flags,
    notes: Mapping[str, str],
) -> Planes:
    """Join images: trimmed to what they share, other pixel scales brought to the finest."""
    each = [c for c, array in zip(calibrations, arrays, strict=True) for _ in array]
    names, sizes = [c.where for c in calibrations], [array.shape[-2:] for array in arrays]
    one_size = len(set(sizes)) == 1
    same = one_size and all(frame == frames[0] for frame in frames)
    shown = ", ".join(f"{n} {x} x {y}" for n, (y, x) in zip(names, sizes, strict=True))
    about = "" if one_size else f"bands of different sizes ({shown}): "
    for name, frame in () if same else zip(names, frames, strict=True):
        coarser = max(frame.pixel_scale, frames[0].pixel_scale)
        said = explain_difference(*(replace(f, pixel_scale=coarser) for f in (frames[0], frame)))
        if said:
            raise UnsupportedImageError(
                f"{about}{names[0]} and {name} show different parts of the sky: {said}; bring the "
                "bands to one grid, or leave one out with --bands or --hdu"
            )
    if same or (one_size and all(_is_alike(frames[0], frame) for frame in frames)):
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return Planes(array, frames[0], each, flags, notes)
    if any(frame.matrix is None for frame in frames):
        raise UnsupportedImageError(f"{about}each needs a WCS, by which to join them")
    finest = min(frame.pixel_scale for frame in frames) * (1 + SCALE_TOLERANCE)
    first = next(n for n, frame in enumerate(frames) if frame.pixel_scale <= finest)
    placed = [
        _place(array, frame, calibration.unit, frames[first], sizes[first])
        for array, frame, calibration in zip(arrays, frames, calibrations, strict=True)
    ]
    array, frame, cut = _trim(placed, frames[first], sizes[first])
    pairs = zip(names, frames, strict=True)
    others = [name for name, frame in pairs if not _is_alike(frames[first], frame)]
    resampled = {"resampled": ", ".join(others)} if others else {}
    flags |= Flags.RESAMPLED if others else Flags.NONE
    return Planes(array, frame, each, flags, {**notes, **cut, **resampled})


def make_cutout(
    planes: Planes, array: Array, bands: tuple[str, ...], kind: Kind, survey: str
) -> Cutout:
    """A cutout of such planes, whose pixels have been turned over; flux in one calibration."""
    notes, calibration, frame = dict(planes.notes), planes.calibrations[0], planes.frame
    if kind == "flux":
        array, calibration, scaled = match_planes(array, planes.calibrations)
        notes |= scaled
    if not math.isnan(calibration.zeropoint):
        notes["zeropoint"] = repr(calibration.zeropoint)
    return Cutout(
        array, bands, kind, "", "", frame.ra, frame.dec, frame.pixel_scale, survey,
        calibration.unit, planes.flags, notes=notes, matrix=frame.matrix,
    )  # fmt: skip


def _is_alike(one: SkyFrame, other: SkyFrame) -> bool:
    """Whether the pixels of two images are of one scale and turned alike, as far as is known."""
    if one.matrix is None or other.matrix is None:
        return not explain_difference(one, other)
    turn = np.linalg.solve(np.array(one.matrix), np.array(other.matrix)) - np.eye(2)
    return bool(np.abs(turn).max() <= TURN_TOLERANCE)


def _place(
    array: Array, frame: SkyFrame, unit: str, grid: SkyFrame, size: tuple[int, ...]
) -> _Placed:
    own, zero = np.array(array.shape[-2:]), np.zeros(2, int)
    if _is_alike(grid, frame):
        origin = np.rint((np.array(size) - own) / 2 + find_offset(grid, frame)[::-1]).astype(int)
        return _Placed(array, origin, np.maximum(origin, 0), np.minimum(origin + own, size))
    array = _resample(array, frame, grid, size)
    if not PER_AREA.search(unit):
        array = array * np.float32((grid.pixel_scale / frame.pixel_scale) ** 2)
    filled = np.argwhere(np.isfinite(array).any(axis=0))
    if not filled.size:
        return _Placed(array, zero, zero, zero)
    return _Placed(array, zero, filled.min(axis=0), filled.max(axis=0) + 1)


def _resample(array: Array, frame: SkyFrame, grid: SkyFrame, size: tuple[int, ...]) -> Array:
    reproject = import_extra("reproject", "reproject", "to join bands of different pixel scales")
    own, target = _make_wcs(frame, array.shape[-2:]), _make_wcs(grid, size)
    planes = [
        reproject.reproject_interp(
            (plane.astype(np.float64), own), target, size, return_footprint=False
        )
        for plane in array
    ]
    return np.stack(planes).astype(np.float32)


def _make_wcs(frame: SkyFrame, size: Sequence[int]) -> Any:
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [frame.ra, frame.dec]
    wcs.wcs.crpix = [(size[1] + 1) / 2, (size[0] + 1) / 2]
    wcs.wcs.cd = np.array(frame.matrix)
    return wcs


def _trim(
    placed: Sequence[_Placed], frame: SkyFrame, size: tuple[int, ...]
) -> tuple[Array, SkyFrame, dict[str, str]]:
    low = np.max([one.low for one in placed], axis=0)
    high = np.min([one.high for one in placed], axis=0)
    arrays = []
    for one in placed:
        (top, left), (bottom, right) = low - one.origin, high - one.origin
        arrays.append(one.array[:, top:bottom, left:right])
    cut = any(new.shape != one.array.shape for new, one in zip(arrays, placed, strict=True))
    said = f"to {high[1] - low[1]} x {high[0] - low[0]} pixels in common"
    y, x = (low + high - np.array(size)) / 2
    return np.concatenate(arrays), shift(frame, x, y), {"trimmed": said} if cut else {}
