"""What stands for the sky where the field of view reaches beyond the frame."""

from typing import Any

import numpy as np
import numpy.typing as npt

FADE = 0.12
"""Beyond the frame its rim falls to the sky by 1/e within this fraction of the field of view."""

SKY_PERCENTILE = 5
"""Of the rim's pixels: the faintest of them are sky even where the galaxy reaches the rim."""


def fade_beyond(
    inside: npt.NDArray[Any], rows: range, columns: range, size: int
) -> npt.NDArray[Any]:
    """Carry an image on to ``size`` by ``size`` pixels, fading into the sky.

    Along every ray from the middle the value of the rim falls exponentially to the sky, with a
    scale of `FADE` of the side: a galaxy that the frame cuts off has no edge then.

    Parameters
    ----------
    inside : ndarray, shape (3, y, x)
        The known part.
    rows, columns : range
        Where it belongs in the result.
    size : int
        Side of the result.
    """
    middle = (size - 1) / 2
    offset = np.arange(size, dtype=np.float32) - np.float32(middle)
    near_y, near_x = _reach(offset, rows, middle), _reach(offset, columns, middle)
    share = np.minimum(near_y[:, None], near_x)  # of the way along the ray to the rim
    from_y = np.rint(offset[:, None] * share + middle).astype(np.intp) - rows.start
    from_x = np.rint(offset * share + middle).astype(np.intp) - columns.start
    smooth = _smooth(inside)
    nearest = smooth[:, from_y.clip(0, len(rows) - 1), from_x.clip(0, len(columns) - 1)]
    sky = _faint_rim(smooth)[:, None, None]
    distance = np.hypot(offset[:, None], offset) * (1 - share)
    result = sky + (nearest - sky) * np.exp(distance / np.float32(-FADE * size))
    filled: npt.NDArray[Any] = result.astype(inside.dtype)
    filled[:, rows.start : rows.stop, columns.start : columns.stop] = inside
    return filled


def _reach(offset: npt.NDArray[Any], covered: range, middle: float) -> npt.NDArray[Any]:
    """Largest share of each offset from the middle that stays within the covered pixels."""
    limit = np.where(offset < 0, covered.start - middle, covered.stop - 1 - middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(offset == 0, 1, limit / offset)
    clipped: npt.NDArray[Any] = np.clip(share, 0, 1).astype(np.float32)
    return clipped


def _smooth(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Mean of 3 by 3 pixels as float32, the rim repeated."""
    padded = np.pad(array.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    smooth: npt.NDArray[Any] = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / np.float32(9)
    return smooth


def _faint_rim(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What is likely to be sky: low percentile of the outermost pixels of each plane."""
    rim = np.concatenate([array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1]], axis=1)
    sky: npt.NDArray[Any] = np.percentile(rim, SKY_PERCENTILE, axis=1).astype(np.float32)
    return sky
