"""The one type in which images travel from the readers, and arrays of any axes to its planes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from galmorph.errors import UnsupportedImageError
from galmorph.flags import Flags

Array = npt.NDArray[Any]
RENDERED_BANDS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Cutout:
    """One cutout as read, before any stretch.

    Attributes
    ----------
    array : ndarray, shape (band, y, x)
        Native byte order. Row 0 is the **top** of the picture as a survey shows it: rasters are
        kept as they are, FITS arrays (row 0 at the bottom) are flipped on reading. uint8 in
        [0, 255] or float32.
    bands : tuple of str
        One name per plane: ``("red", "green", "blue")`` for rendered images, filter names such
        as ``("g", "r", "z")`` for flux.
    kind : {"rendered", "flux"}
        Rendered images are already on a display stretch: uint8 in [0, 255], or float32 in
        [0, 1]. Flux is linear and needs a stretch.
    object_id, path : str
        Identifier of the row (file stem unless something better is known) and where it came from
        ("" for images in memory).
    ra, dec : float
        Centre in degrees, ICRS; NaN where unknown.
    pixel_scale : float
        Arcseconds per pixel; NaN where unknown.
    survey : str
        Survey as read from the header, in lower case ("decals", "sdss", ...); "" where unknown.
    unit : str
        Flux unit of the array ("nanomaggy", "adu", ...); "" where unknown.
    flags : Flags
        What the reader had to do.
    bad : ndarray of bool, shape (y, x), or None
        Pixels that the reader knows to be bad besides those that are not finite.
    notes : mapping
        What was done on reading, for provenance: "hdu", "compression", "orientation", ...
    frame : (int, int) or None
        Height and width of the whole image where `array` is only its upper part, because nobody
        was to look below (`ReadOptions.seen`).
    matrix : ((float, float), (float, float)) or None
        Degrees east and north per pixel to the right and upwards, as shown; None where unknown.
    """

    array: Array
    bands: tuple[str, ...] = RENDERED_BANDS
    kind: Literal["rendered", "flux"] = "rendered"
    object_id: str = ""
    path: str = ""
    ra: float = float("nan")
    dec: float = float("nan")
    pixel_scale: float = float("nan")
    survey: str = ""
    unit: str = ""
    flags: Flags = Flags.NONE
    bad: npt.NDArray[np.bool_] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    frame: tuple[int, int] | None = None
    matrix: tuple[tuple[float, float], tuple[float, float]] | None = None

    def note(self, **notes: str) -> Self:
        """The same with further notes."""
        return replace(self, notes={**self.notes, **notes})

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ValueError(f"a cutout is (band, y, x), not {self.array.shape}")
        if len(self.bands) != self.array.shape[0]:
            raise ValueError(f"{self.array.shape[0]} planes but {len(self.bands)} band names")
        if self.array.dtype not in (np.uint8, np.float32) or not self.array.dtype.isnative:
            raise ValueError(f"a cutout is native uint8 or float32, not {self.array.dtype}")
        if self.kind == "flux" and self.array.dtype != np.float32:
            raise ValueError("flux is float32")


def find_image_axes(shape: Sequence[int]) -> tuple[int, int]:
    """Which axes of a numpy shape are y and x: the last two that are longer than 1."""
    long = [n for n, length in enumerate(shape) if length > 1]
    if len(long) < 2:
        return len(shape) - 2, len(shape) - 1
    if len(long) == 3 and shape[long[2]] == 3 and shape[long[0]] not in (2, 3, 4):  # colours last
        return long[0], long[1]
    return long[-2], long[-1]


def find_image_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of an array of any axes."""
    y, x = find_image_axes(shape)
    return int(shape[y]), int(shape[x])


def drop_axes(array: Array, shape: Sequence[int] | None = None) -> Array:
    """Planes (band, y, x) of an array, or of a piece of one of that shape, without axes of 1."""
    array = np.moveaxis(array, find_image_axes(shape or array.shape), (-2, -1))
    array = np.squeeze(array, axis=tuple(n for n in range(array.ndim - 2) if array.shape[n] == 1))
    if array.ndim not in (2, 3):
        raise UnsupportedImageError(
            f"the array has {array.ndim} axes: {' x '.join(map(str, array.shape))}"
        )
    return array if array.ndim == 3 else array[None]


def to_cutout_array(
    array: Array, bands: tuple[str, ...]
) -> tuple[Array, Literal["rendered", "flux"]]:
    """(band, y, x), row 0 at the bottom, to uint8 (RGB) or float32 with row 0 on top."""
    flipped = array[:, ::-1, :]
    if flipped.dtype.kind not in "fiub":
        raise UnsupportedImageError(f"pixels of type {array.dtype} are not numbers")
    if bands == RENDERED_BANDS and (rendered := to_rendered(flipped)) is not None:
        return rendered, "rendered"
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(flipped, dtype=np.float32), "flux"


def to_rendered(array: Array) -> Array | None:
    """Bring pixels that are already stretched to uint8 or to float32 in [0, 1], else None."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # in either byte order
        return np.ascontiguousarray(array, dtype=np.float32) / np.float32(65535)
    if array.dtype.kind != "f":
        return None
    values = np.ascontiguousarray(array, dtype=np.float32)
    finite = values[np.isfinite(values)]
    inside = finite.size == 0 or (finite.min() >= 0 and finite.max() <= 1)
    return values if inside else None


def lay_on_black(pixels: Array) -> Array:
    """Drop the alpha channel of (y, x, 4) uint8 pixels; transparent ones turn black like sky."""
    alpha = pixels[:, :, 3:]
    if (alpha == 255).all():
        return pixels[:, :, :3]
    weighted = pixels[:, :, :3].astype(np.uint16) * alpha
    return ((weighted + 127) // 255).astype(np.uint8)
