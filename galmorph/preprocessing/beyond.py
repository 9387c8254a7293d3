"""What stands for the sky where the field of view reaches beyond the frame."""

import numpy as np

from galmorph.images.cutout import Array

FADE = 0.12  # of the field of view: within it the frame's rim falls to the sky by 1/e
SKY_PERCENTILE = 5  # of the rim: its faintest pixels are sky even where the galaxy reaches it


def fade_beyond(inside: Array, rows: range, columns: range, size: int) -> Array:
    """Carry an image (3, y, x) on to ``size`` by ``size`` pixels, in which it has a place.

    Along every ray from the middle the value of the rim falls exponentially to the sky, with a
    scale of `FADE` of the side: a galaxy that the frame cuts off has no edge then.
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
    filled: Array = result.astype(inside.dtype)
    filled[:, rows.start : rows.stop, columns.start : columns.stop] = inside
    return filled


def _reach(offset: Array, covered: range, middle: float) -> Array:
    """Largest share of each offset from the middle that stays within the covered pixels."""
    limit = np.where(offset < 0, covered.start - middle, covered.stop - 1 - middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(offset == 0, 1, limit / offset)
    clipped: Array = np.clip(share, 0, 1).astype(np.float32)
    return clipped


def _smooth(array: Array) -> Array:
    """Mean of 3 by 3 pixels as float32, the rim repeated."""
    padded = np.pad(array.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    smooth: Array = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / np.float32(9)
    return smooth


def _faint_rim(array: Array) -> Array:
    """What is likely to be sky: low percentile of the outermost pixels of each plane."""
    rim = np.concatenate([array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1]], axis=1)
    sky: Array = np.percentile(rim, SKY_PERCENTILE, axis=1).astype(np.float32)
    return sky
