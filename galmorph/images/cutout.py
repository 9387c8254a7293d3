"""The one type in which images travel from the readers to the preprocessing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

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
