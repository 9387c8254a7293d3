"""Panels of one image on its way to the network, and what lies over them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from galmorph.images.cutout import Cutout
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.preprocessing.render import render
from galmorph.settings import FieldOptions, RenderOptions

PANEL = 320  # side of a panel in pixels
CROPPED = "cropped"
CAPTION = 26
GAP = 6
PERCENTILES = (0.5, 99.5)  # black and white of flux that is shown without a stretch
FOR, AGAINST = (255, 80, 20), (40, 120, 255)  # of what speaks for a class, and against it
OPAQUE = 0.75  # how much the strongest of these covers


def to_image(array: npt.NDArray[Any]) -> Image.Image:
    """(3, y, x) on [0, 1], or uint8."""
    if array.dtype != np.uint8:
        array = (np.clip(np.nan_to_num(array), 0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))


def _show_flux(cutout: Cutout) -> npt.NDArray[np.float32]:
    """Mean of the bands between two percentiles, linear, in three planes."""
    grey = cutout.array.mean(axis=0)
    good = grey[np.isfinite(grey)]
    low, high = np.percentile(good, PERCENTILES) if good.size else (0.0, 1.0)
    scaled = (grey - low) / max(float(high - low), 1e-30)
    return np.repeat(scaled[None], 3, axis=0).astype(np.float32)


def _fit(array: npt.NDArray[Any], *, smooth: bool = True) -> Image.Image:
    image = to_image(array)
    scale = PANEL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return image.resize(size, method)


def make_panels(
    cutout: Cutout, preprocessing: Preprocessing, field: FieldOptions, rendering: RenderOptions
) -> dict[str, Image.Image]:
    """Image, stretched, cropped, and what the network sees, by their captions."""
    stretched = render(cutout, options=rendering).array
    seen, large = (
        each.prepare(cutout, field=field, rendering=rendering).pixels
        for each in (preprocessing, replace(preprocessing, img_size=PANEL))
    )
    is_flux = cutout.kind != "rendered"
    return {
        "image (mean of bands, linear)" if is_flux else "image": _fit(
            _show_flux(cutout) if is_flux else cutout.array
        ),
        "stretched": _fit(stretched),
        CROPPED: _fit(large),
        f"what the network sees ({seen.shape[-1]} px)": _fit(seen, smooth=False),
    }


def draw_heat(picture: Image.Image, heat: npt.NDArray[np.floating[Any]]) -> Image.Image:
    """Numbers (y, x) over a picture that has lost its colours; the largest is most opaque."""
    fine = Image.fromarray(heat.astype(np.float32)).resize(picture.size, Image.Resampling.BICUBIC)
    scaled = np.clip(np.asarray(fine) / max(float(np.abs(heat).max()), 1e-12), -1, 1)
    colours = np.where(scaled[..., None] > 0, FOR, AGAINST).astype(np.uint8)
    cover = Image.fromarray((np.abs(scaled) * OPAQUE * 255).astype(np.uint8))
    grey = picture.convert("L").convert("RGB")
    grey.paste(Image.fromarray(colours), mask=cover)
    return grey


def join_panels(panels: Mapping[str, Image.Image]) -> Image.Image:
    """All side by side under their captions."""
    width = len(panels) * (PANEL + GAP) + GAP
    canvas = Image.new("RGB", (width, PANEL + CAPTION + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (caption, panel) in enumerate(panels.items()):
        left = GAP + number * (PANEL + GAP)
        x, y = (PANEL - panel.width) // 2, (PANEL - panel.height) // 2
        canvas.paste(panel, (left + x, CAPTION + y))
        draw.text((left, CAPTION // 4), caption, fill="black")
    return canvas
