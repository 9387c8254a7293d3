"""From a cutout to what the encoder sees; the settings travel with the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from galmorph.flags import Flags
from galmorph.images.cutout import Array, Cutout
from galmorph.preprocessing.geometry import Box, central_box, resample_all
from galmorph.preprocessing.render import render
from galmorph.preprocessing.size import GalaxySize, Grey, measure_sizes, to_grey
from galmorph.settings import FieldOptions, ReadOptions, RenderOptions

SATURATED_FRACTION = 0.02  # more pixels of a field at the top of the range are flagged
DECODER_OVERSAMPLING = 5
"""Pixels per pixel that the encoder sees, down to which a decoder may reduce an image: from here on
its filter differs from ours by no more than rounding; see docs/performance.md."""

AS_TRAINED, USUAL = FieldOptions(), RenderOptions()
FLAT = 1.5 / 255  # a field whose values differ by less than this, on [0, 1], shows nothing


class Placed(NamedTuple):
    """A cutout in the colours that the encoder knows, not yet at its size."""

    cutout: Cutout  # rendered; perhaps a part of what was read
    side: int  # the shorter one of the frame that was read
    box: Box | Grey  # field of view in pixels of the array; or by what it is to be measured


class Prepared(NamedTuple):
    """What the encoder sees of one cutout, and what was done to get there."""

    pixels: Array  # (3, img_size, img_size), uint8 or float32 in [0, 1]; not yet normalized
    flags: Flags  # those of the cutout, and what the preprocessing adds
    fov: float  # side of the field of view in arcseconds; NaN where the pixel scale is unknown
    crop: float  # the same as a fraction of the frame's shorter side
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Preprocessing:
    """How pixels are brought into the domain of the weights.

    Where no field is asked for, frames of `scaled_frame` pixels a side are taken to be scaled to
    the galaxy, and `crop` of them is looked at; in every other frame the galaxy is measured.
    """

    img_size: int = 84  # side of the encoder's input in pixels
    crop: float = 180 / 424  # central part that the weights expect, of a frame's shorter side
    sizes_in_field: float = 2.9  # side of a measured field of view, in radii of the galaxy
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # red, green, blue, on [0, 1]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"  # to the encoder's size
    scaled_frame: int | None = None  # None: `crop` of every frame

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
        known = {f.name for f in fields(cls)}
        kept: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known
        }
        return cls(**kept)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def min_side(self, options: FieldOptions) -> int | None:
        """Shorter side below which a decoder must not reduce the image; None if it must not."""
        crop = self._fixed_crop(options)
        return None if crop is None else math.ceil(DECODER_OVERSAMPLING * self.img_size / crop)

    def tell_reader(self, read: ReadOptions, options: FieldOptions) -> ReadOptions:
        """What a decoder may leave out, for this field of view."""
        seen, min_side = self._fixed_crop(options), self.min_side(options)
        if not self._may_measure(options):
            return replace(read, seen=seen, min_side=min_side)
        return replace(read, seen=seen, seen_side=self.scaled_frame)

    def _may_measure(self, options: FieldOptions) -> bool:
        """Whether the frame decides what is looked at."""
        return self.scaled_frame is not None and options.crop is None and options.fov is None

    def measures(self, options: FieldOptions, shape: tuple[int, ...]) -> bool:
        """Whether the galaxy is measured in a frame of that shape."""
        if self._may_measure(options):
            return shape.count(self.scaled_frame) < 2
        return options.crop == "auto"

    def _fixed_crop(self, options: FieldOptions) -> float | None:
        """The fraction of the frame that is looked at; None if it depends on the image."""
        if options.fov is not None or isinstance(options.crop, str):
            return None
        return self.crop if options.crop is None else float(options.crop)

    def prepare(
        self, cutout: Cutout, *, field: FieldOptions = AS_TRAINED, rendering: RenderOptions = USUAL
    ) -> Prepared:
        """Render, cut out the field of view, and bring it to the encoder's size."""
        return self.finish([self.place(cutout, field=field, rendering=rendering)])[0]

    def place(
        self, cutout: Cutout, *, field: FieldOptions = AS_TRAINED, rendering: RenderOptions = USUAL
    ) -> Placed:
        """The first half of `prepare`: render, and find the field of view."""
        side, told = min(frame := _find_frame(cutout)), {}
        measured = self.measures(field, frame)
        if self._may_measure(field):
            told = {"field": "measured" if measured else "as scaled by Galaxy Zoo"}
        if measured:
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
        every, prepared = zip(placed, boxes, resampled, found, strict=True), []
        for (cutout, frame_side, _), (box, notes), (pixels, padded), shown in every:
            side, flags = box.side, cutout.flags | shown
            if padded:
                flags |= Flags.PADDED
            if side * float(cutout.notes.get("reduced", 1)) < self.img_size:
                flags |= Flags.UPSAMPLED
            if notes.get("size_px") == "nan":
                flags |= Flags.NO_CENTRAL_SOURCE
            fov, told = side * cutout.pixel_scale, {**cutout.notes, **notes}
            prepared.append(Prepared(pixels, flags, fov, side / frame_side, told))
        return prepared

    def _choose_box(self, cutout: Cutout, field: FieldOptions) -> Box:
        """Field of view in pixels of the array, as the options or the weights fix it."""
        height, width = _find_frame(cutout)
        if (fraction := self._fixed_crop(field)) is not None:
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
        sizes = iter(
            measure_sizes([(p.cutout.array, p.box) for p in placed if isinstance(p.box, Grey)])
        )
        return [
            (p.box, {}) if isinstance(p.box, Box) else self._choose_measured(p.cutout, next(sizes))
            for p in placed
        ]

    def _choose_measured(
        self, cutout: Cutout, size: GalaxySize | None
    ) -> tuple[Box, dict[str, str]]:
        height, width = cutout.array.shape[1:]
        if size is None:
            return central_box(height, width, min(height, width) * self.crop), {"size_px": "nan"}
        box = central_box(height, width, self.sizes_in_field * size.radius, center=(size.x, size.y))
        return box, {"size_px": f"{size.radius:.2f}"}


def _find_frame(cutout: Cutout) -> tuple[int, int]:
    """Height and width of the image, whole or not."""
    height, width = cutout.array.shape[1:]
    return cutout.frame or (height, width)


def _check_complete(cutout: Cutout, box: Box | None) -> None:
    """Refuse to look at what the reader has left out."""
    if cutout.frame and (box is None or box.exceeds(*cutout.array.shape[1:])):
        raise ValueError("this image was read in part, for a smaller field of view; read it again")


def _inspect(many: Sequence[Array]) -> list[Flags]:
    """Flags for fields that show nothing, or that are saturated."""
    found = [Flags.NONE] * len(many)
    for dtype, top, flat in ((np.uint8, 255.0, FLAT * 255), (np.float32, 1.0, FLAT)):
        if not (places := [k for k, pixels in enumerate(many) if pixels.dtype == dtype]):
            continue
        stack = np.stack([many[k] for k in places])
        high, low = stack.max(axis=(2, 3)).astype(float), stack.min(axis=(2, 3)).astype(float)
        # Each channel by itself: an even patch of sky need not be grey.
        even, bright = (high - low).max(axis=1) < flat, high.min(axis=1) >= top
        for k, pixels, is_even, is_bright in zip(places, stack, even, bright, strict=True):
            if is_even:
                found[k] = Flags.CONSTANT
            elif is_bright and (pixels >= top).all(axis=0).mean() > SATURATED_FRACTION:
                found[k] = Flags.SATURATED
    return found
