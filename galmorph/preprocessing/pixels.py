"""Bad pixels: what is done with NaN, infinities and masked pixels before any stretch."""

import itertools
from typing import NamedTuple

import numpy as np

from galmorph.errors import PixelError
from galmorph.flags import Flags
from galmorph.images.cutout import Array
from galmorph.settings import BadPixelPolicy

LARGEST_VALUE = 1e20  # what lies beyond is bad like an infinity: its sums would leave float32
MAX_RINGS = 32  # by which a hole is closed from its rim; what is left becomes the median
MAX_HOLE_PIXELS = 1_000_000  # more in a plane become the median at once: bounds time and memory
MIN_COMMON_FRACTION = 0.05  # of the frame: two bands share it before one is filled from the other
DIAGONAL_WEIGHT = 0.5  # of the four diagonal neighbours against the four adjacent ones


class FilledPlanes(NamedTuple):
    """Planes (band, y, x) without bad pixels, the input itself where nothing was bad."""

    array: Array
    flags: Flags
    bad_pixels: int  # in at least one plane, of those that will be seen


def find_bad_pixels(
    array: Array, mask: Array | None = None, *, zero_is_bad: bool = False
) -> Array | None:
    """Pixels (band, y, x) that are not finite, absurdly large, or masked (y, x); None for none.

    Exactly 0 is bad where it means that the band was not observed there (Legacy Surveys).
    """
    if mask is not None and not mask.any():
        mask = None
    if array.dtype.kind != "f":
        return None if mask is None else np.broadcast_to(mask, array.shape)
    if mask is None and is_all_good(array, zero_is_bad=zero_is_bad):
        return None
    good = _find_good(array, zero_is_bad)
    if mask is not None:
        good &= ~np.asarray(mask)
    return None if good.all() else ~good


def _find_good(array: Array, zero_is_bad: bool) -> Array:
    good = np.abs(array) < LARGEST_VALUE
    if zero_is_bad:
        good &= array != 0
    return good


def has_good_pixel(plane: Array, *, zero_is_bad: bool = False) -> bool:
    """Whether a plane (y, x) has any good pixel; see `find_bad_pixels`."""
    few = plane[::16, ::16]  # which answer for nearly every image
    return any(bool(_find_good(part, zero_is_bad).any()) for part in (few, plane))


def is_all_good(array: Array, *, zero_is_bad: bool = False) -> bool:
    """Whether no pixel is bad, without a temporary array; nearly every image ends here."""
    if zero_is_bad and (array == 0).any():
        return False
    low, high = array.min(), array.max()
    return bool(low > -LARGEST_VALUE and high < LARGEST_VALUE)  # False for NaN


def fill_bad_pixels(
    array: Array,
    mask: Array | None = None,
    *,
    policy: BadPixelPolicy = "interpolate",
    max_fraction: float = 0.05,
    zero_is_bad: bool = False,
    within: tuple[slice, slice] | None = None,
) -> FilledPlanes:
    """Interpolate bad pixels, set them to zero, or refuse them (`PixelError`).

    A pixel that is bad in one band only is filled from the other bands, in the mean colour of the
    image; one that is bad in all of them from its neighbours, from the rim of the hole inwards.
    Only those ``within`` the rows and columns that will be seen are counted, flagged and refused.
    A plane without any good pixel is refused always.
    """
    if (bad := find_bad_pixels(array, mask, zero_is_bad=zero_is_bad)) is None:
        return FilledPlanes(array, Flags.NONE, 0)
    seen = bad if within is None else bad[:, *within]
    count = int(np.count_nonzero(seen.any(axis=0)))
    total = seen[0].size
    if seen.all():
        zero = " (0 means that nothing was observed there)" if zero_is_bad else ""
        raise PixelError(f"no good pixel in any band{zero}")
    if bad.all(axis=(1, 2)).any():
        raise PixelError("no good pixel in at least one band; choose other bands")
    if policy == "refuse" and count:
        raise PixelError(f"{count} of {total} pixels are bad, and the policy is to refuse them")
    flags = Flags.BAD_PIXELS_FILLED if count else Flags.NONE
    if count > max_fraction * total:
        flags |= Flags.MANY_BAD_PIXELS
    if policy == "zero":
        return FilledPlanes(np.where(bad, array.dtype.type(0), array), flags, count)
    array, left = _fill_from_other_bands(array, bad)
    filled = np.stack([_close_holes(p, b) for p, b in zip(array, left, strict=True)])
    return FilledPlanes(filled, flags, count)


def _fill_from_other_bands(array: Array, bad: Array) -> tuple[Array, Array]:
    """Fill what is bad in one band and good in another; the planes, and what is still bad."""
    single = bad.any(axis=0) & ~bad.all(axis=0)
    if not single.any():
        return array, bad
    known = np.where(bad, 0, array).astype(np.float32)
    total, weight = np.zeros_like(known), np.zeros(known.shape, dtype=np.float32)
    for target, donor in itertools.permutations(range(len(array)), 2):
        usable = bad[target] & ~bad[donor]
        if usable.any():
            estimate = _predict(known[target], known[donor], ~(bad[target] | bad[donor]))
            if estimate is not None:
                total[target] += np.where(usable, estimate, 0)
                weight[target] += usable
    done = weight > 0
    filled = np.where(done, total / np.maximum(weight, 1), array).astype(array.dtype)
    return filled, bad & ~done


def _predict(target: Array, donor: Array, common: Array) -> Array | None:
    """Straight line from one band to another, fitted where both are good; None if it has no say."""
    if np.count_nonzero(common) < MIN_COMMON_FRACTION * common.size:
        return None
    x, y = donor[common], target[common]
    x0, y0 = np.float32(np.median(x)), np.float32(np.median(y))
    x, y = (x - x0).astype(np.float64), (y - y0).astype(np.float64)
    variance = float(x @ x)
    if variance == 0:
        return None
    slope = float(x @ y) / variance
    return (y0 + np.float32(max(slope, 0)) * (donor - x0)).astype(np.float32)


def _close_holes(plane: Array, bad: Array) -> Array:
    """Fill bad pixels ring by ring with the weighted mean of their good neighbours."""
    if not bad.any():
        return plane
    columns = plane.shape[1] + 2
    values = np.pad(np.where(bad, 0, plane).astype(np.float32), 1).ravel()
    known = np.pad((~bad).astype(np.float32), 1).ravel()
    todo = np.flatnonzero(np.pad(bad, 1))
    diagonal = (-columns - 1, 1 - columns, columns - 1, columns + 1)
    offsets = np.array([-1, 1, -columns, columns, *diagonal])
    weights = np.array([1.0] * 4 + [DIAGONAL_WEIGHT] * 4, dtype=np.float32)
    for _ in range(MAX_RINGS if todo.size <= MAX_HOLE_PIXELS else 0):
        neighbours = todo[:, None] + offsets
        weight = known[neighbours] * weights
        total = weight.sum(axis=1)
        ready = total > 0
        values[todo[ready]] = (values[neighbours] * weight).sum(axis=1)[ready] / total[ready]
        known[todo[ready]] = 1
        todo = todo[~ready]
        if todo.size == 0:
            break
    values[todo] = np.median(plane[~bad])
    closed = values.reshape(plane.shape[0] + 2, columns)[1:-1, 1:-1]
    if plane.dtype.kind in "iu":
        closed = np.rint(closed)
    return closed.astype(plane.dtype)
