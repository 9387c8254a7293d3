"""Four panels of one image on its way to the network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from galmorph.images.cutout import Cutout
    from galmorph.pipeline import Pipeline
    from galmorph.preprocessing.pipeline import Prepared

__all__ = ["draw_panels"]

PANEL = 320
"""Side of a panel in pixels."""

CAPTION = 26
GAP = 6
PERCENTILES = (0.5, 99.5)
"""Black and white of flux that is shown without a stretch."""


def _to_bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(3, y, x) on [0, 1], or uint8, to (y, x, 3) uint8."""
    if array.dtype != np.uint8:
        array = (np.clip(np.nan_to_num(array), 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(array.transpose(1, 2, 0))


def _show_flux(cutout: Cutout) -> npt.NDArray[np.float32]:
    """Mean of the bands between two percentiles, linear, in three planes."""
    grey = cutout.array.mean(axis=0)
    good = grey[np.isfinite(grey)]
    low, high = np.percentile(good, PERCENTILES) if good.size else (0.0, 1.0)
    scaled = (grey - low) / max(float(high - low), 1e-30)
    return np.repeat(scaled[None], 3, axis=0).astype(np.float32)


def _fit(array: npt.NDArray[Any], *, smooth: bool) -> Image.Image:
    image = Image.fromarray(_to_bytes(array))
    scale = PANEL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return image.resize(size, method)


def draw_panels(cutout: Cutout, pipeline: Pipeline, prepared: Prepared) -> Image.Image:
    """Draw image, stretched, cropped, and what the network sees, side by side.

    Parameters
    ----------
    cutout : Cutout
        As read.
    pipeline : Pipeline
        Model and settings.
    prepared : Prepared
        What the encoder gets.

    Returns
    -------
    PIL.Image.Image
    """
    from galmorph.preprocessing.render import render

    stretched = render(cutout, options=pipeline.rendering).array
    large = replace(pipeline.model.preprocessing, img_size=PANEL)
    cropped = large.prepare(
        cutout, field=pipeline.field_of_view, rendering=pipeline.rendering
    ).pixels
    side = prepared.pixels.shape[-1]
    image = cutout.array if cutout.kind == "rendered" else _show_flux(cutout)
    name = "image" if cutout.kind == "rendered" else "image (mean of bands, linear)"
    return _join(
        {
            name: _fit(image, smooth=True),
            "stretched": _fit(stretched, smooth=True),
            "cropped": _fit(cropped, smooth=True),
            f"what the network sees ({side} px)": _fit(prepared.pixels, smooth=False),
        }
    )


def _join(panels: dict[str, Image.Image]) -> Image.Image:
    width = len(panels) * (PANEL + GAP) + GAP
    canvas = Image.new("RGB", (width, PANEL + CAPTION + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (caption, panel) in enumerate(panels.items()):
        left = GAP + number * (PANEL + GAP)
        x, y = (PANEL - panel.width) // 2, (PANEL - panel.height) // 2
        canvas.paste(panel, (left + x, CAPTION + y))
        draw.text((left, CAPTION // 4), caption, fill="black")
    return canvas
