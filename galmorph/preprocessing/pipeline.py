"""From a cutout to what the encoder sees; the settings travel with the weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from galmorph.flags import Flags
from galmorph.images.cutout import Cutout
from galmorph.preprocessing.geometry import Box, central_box, resample_all
from galmorph.preprocessing.render import render
from galmorph.preprocessing.size import GalaxySize, Grey, measure_sizes, to_grey
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions

__all__ = ["Placed", "Prepared", "Preprocessing"]

SATURATED_FRACTION = 0.02
"""A field with more pixels than this at the top of the range is flagged."""

DECODER_OVERSAMPLING = 5
"""A decoder may reduce an image only down to this many pixels per pixel that the encoder sees.

From here on its filter differs from ours by no more than rounding. With 1, it
changes more labels than a speed-up may; see docs/performance.md.
"""

FLAT = 1.5 / 255
"""A field whose values differ by less than this, on [0, 1], shows nothing."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A cutout in the colours that the encoder knows, not yet at its size.

    Attributes
    ----------
    cutout : Cutout
        Rendered; perhaps a part of what was read.
    side : int
        Shorter side of the frame that was read.
    box : Box or Grey
        Field of view, in pixels of the rendered array; or by what it is to be measured.
    """

    cutout: Cutout
    side: int
    box: Box | Grey


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the encoder sees of one cutout, and what was done to get there.

    Attributes
    ----------
    pixels : ndarray, shape (3, img_size, img_size)
        uint8 in [0, 255] or float32 in [0, 1]; not yet normalized.
    flags : Flags
        Those of the cutout, and what the preprocessing adds.
    fov : float
        Side of the field of view in arcseconds; NaN where the pixel scale is unknown.
    crop : float
        The same as a fraction of the frame's shorter side.
    notes : mapping
        What was done, for provenance.
    """

    pixels: npt.NDArray[Any]
    flags: Flags
    fov: float
    crop: float
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Preprocessing:
    """How pixels are brought into the domain of the weights.

    Attributes
    ----------
    img_size : int
        Side of the encoder's input in pixels.
    crop : float
        Central part of a frame that the weights expect, as a fraction of its shorter side.
    sizes_in_field : float
        Side of the field of view in units of the galaxy's measured radius, for ``crop="auto"``.
    mean, std : tuple of float
        Normalization per channel (red, green, blue), on [0, 1].
    interpolation : {"bilinear", "bicubic"}
        Filter that brings the field to the encoder's size.
    scaled_frame : int or None
        Where no field is asked for: frames of so many pixels a side are taken
        to be scaled to the galaxy, and ``crop`` of them is looked at. In every other frame the
        galaxy is measured. None: ``crop`` of every frame.
    """

    img_size: int = 84
    crop: float = 180 / 424
    sizes_in_field: float = 2.9
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    scaled_frame: int | None = None

    def __post_init__(self) -> None:
        if self.img_size < 1 or not min(self.crop, self.sizes_in_field) > 0:
            raise ValueError(
                "img_size, crop and sizes_in_field must be positive, not "
                f"{self.img_size}, {self.crop}, {self.sizes_in_field}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std have three values each, and std is positive")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation is bilinear or bicubic, not {self.interpolation!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Rebuild from `to_dict`; keys that this version does not know are left aside."""
        known = {f.name for f in dataclasses.fields(cls)}
        kept: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known
        }
        return cls(**kept)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    def min_side(self, options: FieldOptions) -> int | None:
        """Shorter side below which a decoder must not reduce the image; None if it must not."""
        crop = self._fixed_crop(options)
        return None if crop is None else math.ceil(DECODER_OVERSAMPLING * self.img_size / crop)

    def tell_reader(self, read: ReadOptions, options: FieldOptions) -> ReadOptions:
        """What a decoder may leave out, for this field of view."""
        seen, min_side = self._fixed_crop(options), self.min_side(options)
        if not self._may_measure(options):
            return dataclasses.replace(read, seen=seen, min_side=min_side)
        return dataclasses.replace(read, seen=seen, seen_side=self.scaled_frame)

    def _may_measure(self, options: FieldOptions) -> bool:
        """Whether the frame decides what is looked at."""
        return self.scaled_frame is not None and options.crop is None and options.fov is None

    def _fixed_crop(self, options: FieldOptions) -> float | None:
        """The fraction of the frame that is looked at; None if it depends on the image."""
        if options.fov is not None or isinstance(options.crop, str):
            return None
        return self.crop if options.crop is None else float(options.crop)

    def prepare(
        self,
        cutout: Cutout,
        *,
        field: FieldOptions | None = None,
        rendering: RenderOptions | None = None,
    ) -> Prepared:
        """Render, cut out the field of view, and bring it to the encoder's size.

        Parameters
        ----------
        cutout : Cutout
            As read.
        field : FieldOptions, optional
            Another field of view than the one that the weights expect.
        rendering : RenderOptions, optional
            How flux becomes colour and what happens to bad pixels.

        Returns
        -------
        Prepared
            With ``Flags.CONSTANT`` where the field shows nothing.

        Raises
        ------
        PixelError
            Bad pixels, where the options say to refuse them, or no good pixel at all.
        BandError
            The stretch needs bands that the cutout does not have.
        ValueError
            A field of view in arcseconds for a cutout without a pixel scale, or one that reaches
            beyond the part of the image that was read.
        """
        return self.finish([self.place(cutout, field=field, rendering=rendering)])[0]

    def place(
        self,
        cutout: Cutout,
        *,
        field: FieldOptions | None = None,
        rendering: RenderOptions | None = None,
    ) -> Placed:
        """The first half of `prepare`: render, and find the field of view."""
        field = field or FieldOptions()
        rendering = rendering or RenderOptions()
        height, width = _find_frame(cutout)
        side, told = min(height, width), {}
        if self._may_measure(field):
            scaled = height == width == self.scaled_frame
            told = {"field": "as scaled by Galaxy Zoo" if scaled else "measured"}
            field = field if scaled else FieldOptions(crop="auto")
        if field.crop == "auto":
            _check_complete(cutout, None)
            shown = render(cutout, options=rendering).note(**told)
            return Placed(shown, side, to_grey(shown.array))
        box = self._choose_box(cutout, field)
        _check_complete(cutout, box)
        frame = cutout.array.shape[1:]
        within, cut = box.find_pixels(*frame), not box.exceeds(*frame)
        shown = render(cutout, options=rendering, within=within, cut=cut).note(**told)
        if cut:
            box = Box(box.x - within[1].start, box.y - within[0].start, box.side)
        return Placed(shown, side, box)

    def finish(self, placed: Sequence[Placed]) -> list[Prepared]:
        """The second half of `prepare`, for many: bring fields of view to the encoder's size.

        In few steps for all of them: with a step for each, threads would spend more time on
        taking turns in Python than on pixels.
        """
        boxes = self._measure_boxes(placed)
        fields = [(p.cutout.array, box) for p, (box, _) in zip(placed, boxes, strict=True)]
        resampled = resample_all(fields, self.img_size, self.interpolation)
        found = _inspect([pixels for pixels, _ in resampled])
        every = zip(placed, boxes, resampled, found, strict=True)
        return [
            self._describe(p, box, notes, pixels, flags | (Flags.PADDED if padded else Flags.NONE))
            for p, (box, notes), (pixels, padded), flags in every
        ]

    def _describe(
        self,
        placed: Placed,
        box: Box,
        notes: dict[str, str],
        pixels: npt.NDArray[Any],
        flags: Flags,
    ) -> Prepared:
        cutout = placed.cutout
        if box.side * _reduction(cutout) < self.img_size:
            flags |= Flags.UPSAMPLED
        if notes.get("size_px") == "nan":
            flags |= Flags.NO_CENTRAL_SOURCE
        return Prepared(
            pixels,
            cutout.flags | flags,
            fov=box.side * cutout.pixel_scale,
            crop=box.side / placed.side,
            notes={**cutout.notes, **notes},
        )

    def _choose_box(self, cutout: Cutout, field: FieldOptions) -> Box:
        """Field of view in pixels of the array, as the options or the weights fix it."""
        height, width = _find_frame(cutout)
        fraction = self._fixed_crop(field)
        if fraction is not None:
            return central_box(height, width, min(height, width) * fraction)
        assert field.fov is not None
        if not math.isfinite(cutout.pixel_scale):
            raise ValueError(
                "a field of view in arcseconds needs a pixel scale, and this image has none; "
                "give --crop FRACTION or --pixel-scale instead"
            )
        return central_box(height, width, float(field.fov) / cutout.pixel_scale)

    def _measure_boxes(self, placed: Sequence[Placed]) -> list[tuple[Box, dict[str, str]]]:
        """Fields of view in pixels, where need be by the size of the central galaxy, and notes."""
        unknown = {
            k: (p.cutout.array, p.box) for k, p in enumerate(placed) if isinstance(p.box, Grey)
        }
        sizes = dict(zip(unknown, measure_sizes(unknown.values()), strict=True))
        return [
            (p.box, {}) if isinstance(p.box, Box) else self._choose_measured(p.cutout, sizes[k])
            for k, p in enumerate(placed)
        ]

    def _choose_measured(
        self, cutout: Cutout, size: GalaxySize | None
    ) -> tuple[Box, dict[str, str]]:
        height, width = cutout.array.shape[1:]
        if size is None:
            return central_box(height, width, min(height, width) * self.crop), {"size_px": "nan"}
        box = central_box(height, width, self.sizes_in_field * size.radius, center=(size.x, size.y))
        return box, {"size_px": f"{size.radius:.2f}"}


def _reduction(cutout: Cutout) -> float:
    """Pixels of the file per pixel of the array, where the decoder reduced it."""
    return float(cutout.notes.get("reduced", 1))


def _find_frame(cutout: Cutout) -> tuple[int, int]:
    """Height and width of the image, whole or not."""
    height, width = cutout.array.shape[1:]
    return cutout.frame or (height, width)


def _check_complete(cutout: Cutout, box: Box | None) -> None:
    """Refuse to look at what the reader has left out."""
    part = cutout.frame is not None
    if part and (box is None or box.exceeds(*cutout.array.shape[1:])):
        raise ValueError("this image was read in part, for a smaller field of view; read it again")


def _inspect(many: Sequence[npt.NDArray[Any]]) -> list[Flags]:
    """Flags for fields that show nothing, or that are saturated."""
    found = [Flags.NONE] * len(many)
    for dtype, top, flat in ((np.uint8, 255.0, FLAT * 255), (np.float32, 1.0, FLAT)):
        places = [k for k, pixels in enumerate(many) if pixels.dtype == dtype]
        if not places:
            continue
        stack = np.stack([many[k] for k in places])
        high, low = stack.max(axis=(2, 3)).astype(float), stack.min(axis=(2, 3)).astype(float)
        # Each channel by itself: an even patch of sky need not be grey.
        even, bright = (high - low).max(axis=1) < flat, high.min(axis=1) >= top
        for k, pixels, is_even, is_bright in zip(places, stack, even, bright, strict=True):
            if is_even:
                found[k] = Flags.CONSTANT
            elif is_bright and _is_saturated(pixels, top):
                found[k] = Flags.SATURATED
    return found


def _is_saturated(pixels: npt.NDArray[Any], top: float) -> bool:
    count = np.count_nonzero((pixels >= top).all(axis=0))
    return bool(count > SATURATED_FRACTION * pixels[0].size)
