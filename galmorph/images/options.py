"""How files are read: the settings that a user may change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from galmorph.images.bands import is_band_name, name_bands

__all__ = ["ReadOptions"]

DEFAULT_MAX_PIXELS = 27_000_000
"""3000 x 3000 x 3: fifty times the area of a Galaxy Zoo cutout, and 108 MB as float32."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Settings of `read_cutout`.

    Attributes
    ----------
    hdu : int, str, or tuple of these, optional
        FITS: number (0 is the primary) or name of the HDU; several are stacked as bands. By
        default the first that holds a 2-D or 3-D image, with those after it that hold another
        band of the same shape.
    bands : tuple of str, optional
        FITS and flux arrays: names of the planes where the file does not give them; where it
        does, the bands to take, in this order. Kept as `galmorph.images.bands.name_bands` spells
        them. The order counts as that of wavelength, from the bluest on, where that of a band is
        not known.
    max_pixels : int
        Largest y * x * band that is read; more is refused with `ImageTooLargeError`.
    min_side : int, optional
        A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as both sides keep this many
        pixels (the factor is noted as "reduced"). None: always the full size.
    seen : float, optional
        Side of the central square outside of which nobody will look, as a fraction of the shorter
        side. What lies below it in a JPEG may then be left out (`Cutout.frame` says so).
    pixel_scale : float, optional
        Arcseconds per pixel of the file, where the file itself does not tell.
    center : (float, float), optional
        FITS with WCS: RA and Dec in degrees (ICRS) of the part to cut out.
    fov : float, optional
        FITS with WCS: side in arcseconds of the part to cut out; with `center` alone, the shorter
        side of the image.

    Raises
    ------
    ValueError
        A value outside its range.
    """

    hdu: int | str | tuple[int | str, ...] | None = None
    bands: tuple[str, ...] | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    min_side: int | None = None
    seen: float | None = None
    pixel_scale: float | None = None
    center: tuple[float, float] | None = None
    fov: float | None = None

    def __post_init__(self) -> None:
        for name in ("hdu", "bands", "center"):
            value = getattr(self, name)
            if hasattr(value, "tolist") and not hasattr(value, "unit"):  # of numpy
                value = value.tolist()
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, not {self.max_pixels}")
        if self.min_side is not None and self.min_side < 1:
            raise ValueError(f"min_side must be at least 1, not {self.min_side}")
        if self.seen is not None and not self.seen > 0:
            raise ValueError(f"seen must be positive, not {self.seen}")
        for name in ("pixel_scale", "fov"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < float(value) < math.inf):
                raise ValueError(f"{name} must be a positive number of arcseconds, not {value!r}")
            object.__setattr__(self, name, None if value is None else float(value))
        if self.bands is not None:
            self._check_bands(self.bands)
            object.__setattr__(self, "bands", name_bands(self.bands))
        if self.center is not None:
            self._check_center(self.center)

    @staticmethod
    def _check_bands(bands: tuple[str, ...]) -> None:
        if isinstance(bands, str):
            letters = bands if all(map(is_band_name, bands)) else [bands]
            names = tuple(bands.split(",") if "," in bands else letters) or ("g", "r", "z")
            raise ValueError(f"bands are different names in a tuple: {names}, not {bands!r}")
        if not bands or len(set(bands)) != len(bands):
            raise ValueError(f'bands are different names such as ("g", "r", "z"), not {bands!r}')

    @staticmethod
    def _check_center(center: Any) -> None:
        numbers = isinstance(center, tuple) and all(map(_is_number, center))
        if not numbers or len(center) != 2:
            raise ValueError(f"center is RA and Dec in degrees, not {center!r}")
        if not -90 <= center[1] <= 90:
            raise ValueError(f"the declination {center[1]} is not within -90 to 90 degrees")
        if not math.isfinite(center[0]):
            raise ValueError(f"the right ascension is {center[0]}, not a number of degrees")

    @property
    def max_bytes(self) -> int:
        """Largest decompressed file: 8 bytes per pixel and 4 MiB of headers."""
        return 8 * self.max_pixels + (4 << 20)


def _is_number(value: Any) -> bool:
    """Of Python or numpy, arrays without an axis among them."""
    if isinstance(value, (str, bytes)):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
