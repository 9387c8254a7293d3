"""Size and place of the central galaxy, measured with SEP (Barbary 2016, JOSS 1, 58)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import MissingExtraError

__all__ = ["GalaxySize", "measure_size"]

WORKING_SIDE = 106
"""Frames are averaged down to about this many pixels before the measurement."""

THRESHOLD = 1.5
"""Detection threshold in standard deviations of the background."""

MIN_LEVEL = 0.02
"""Lowest detection threshold on [0, 1]: about five steps of an 8-bit image."""

MIN_AREA = 9
CENTRAL = 0.12
"""The galaxy's centre lies within this fraction of the frame's shorter side of the middle."""


@dataclass(frozen=True, slots=True)
class GalaxySize:
    """What was measured, in pixels of the array.

    Attributes
    ----------
    radius : float
        Radius that holds half of the light of the rendered (stretched) image.
    x, y : float
        Centre, in pixel edges: the middle of the first pixel is (0.5, 0.5).
    """

    radius: float
    x: float
    y: float


def _average_down(grey: npt.NDArray[np.float32], factor: int) -> npt.NDArray[np.float32]:
    height, width = (side // factor * factor for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // factor, factor, width // factor, factor)
    result: npt.NDArray[np.float32] = np.ascontiguousarray(blocks.mean(axis=(1, 3)))
    return result


def _to_grey(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    return np.asarray(array.mean(axis=0, dtype=np.float32) / np.float32(scale))


def measure_size(array: npt.NDArray[Any]) -> GalaxySize | None:
    """Measure the galaxy nearest to the middle of a frame.

    Parameters
    ----------
    array : ndarray, shape (3, y, x)
        Rendered: uint8 in [0, 255] or float32 in [0, 1].

    Returns
    -------
    GalaxySize or None
        None where nothing stands out near the middle.

    Raises
    ------
    MissingExtraError
        SEP is not installed.
    """
    try:
        import sep
    except ImportError:
        raise MissingExtraError("sep", "sep", "to measure sizes (--crop auto)") from None
    factor = max(1, round(min(array.shape[1:]) / WORKING_SIDE))
    grey = _average_down(_to_grey(array), factor)
    sky = np.median(grey)
    noise = 1.4826 * float(np.median(np.abs(grey - sky)))
    grey = grey - sky
    try:
        found, segments = sep.extract(
            grey, max(THRESHOLD * noise, MIN_LEVEL), minarea=MIN_AREA, segmentation_map=True,
            deblend_cont=0.05,
        )
    except Exception:  # SEP gives up on crowded frames with a bare Exception
        return None
    central = _most_central(found, grey.shape)
    if central is None:
        return None
    own = np.where(segments == central + 1, grey, 0.0)
    x, y = float(found["x"][central]), float(found["y"][central])
    radius, _ = sep.flux_radius(own, [x], [y], [max(grey.shape)], 0.5)
    return GalaxySize(float(radius[0]) * factor, (x + 0.5) * factor, (y + 0.5) * factor)


def _most_central(found: npt.NDArray[Any], shape: tuple[int, ...]) -> int | None:
    """Index of the brightest detection near the middle."""
    offset = np.hypot(found["x"] - (shape[1] - 1) / 2, found["y"] - (shape[0] - 1) / 2)
    near = np.flatnonzero(offset < CENTRAL * min(shape))
    return int(near[np.argmax(found["flux"][near])]) if len(near) else None
