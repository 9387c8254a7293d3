"""What the raster formats share: decoding by Pillow, and its images to cutouts."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import ImageError, ImageTooLargeError, UnreadableImageError
from galmorph.flags import Flags
from galmorph.images.cutout import Cutout
from galmorph.images.planes import lay_on_black
from galmorph.images.quiet import quiet
from galmorph.settings import ReadOptions

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check_size", "cutout_from_pil", "decode"]

Array = npt.NDArray[Any]


def decode(
    data: bytes,
    open_image: Callable[[io.BytesIO], Image],
    name: str,
    options: ReadOptions,
    path: str,
) -> Cutout:
    """Decode by the plugin of one format; what else goes wrong is one sentence.

    Not by ``Image.open``, which tries several and warns of large images: the size is checked here.
    """
    try:
        with quiet():  # Pillow warns of damaged tags, which say nothing of the pixels
            image = open_image(io.BytesIO(data))
            size = image.size
            check_size(size, len(image.getbands()), options, path)
            if options.min_side is not None and name == "JPEG":
                image.draft(None, (options.min_side, options.min_side))
            cutout = cutout_from_pil(image)
    except (ImageError, MemoryError):
        raise
    # A damaged file may raise nearly anything inside a decoder; all of it means the same.
    except Exception as error:
        reason = f"the {name} is damaged or cut short, or of a rare kind that is not read"
        raise UnreadableImageError(reason, path) from error
    if cutout.array.shape[2] == size[0]:
        return cutout
    factor = round(size[0] / cutout.array.shape[2])
    return replace(cutout, notes={**cutout.notes, "reduced": str(factor)})


def check_size(size: tuple[int, int], planes: int, options: ReadOptions, path: str) -> None:
    """Refuse an empty image, and one of more pixels than `options.max_pixels`."""
    if size[0] < 1 or size[1] < 1:
        raise UnreadableImageError(f"the image is empty ({size[0]} x {size[1]})", path)
    if size[0] * size[1] * planes > options.max_pixels:
        raise ImageTooLargeError(
            f"{size[0]} x {size[1]} pixels in {planes} channels are more than max_pixels = "
            f"{options.max_pixels}; cut the galaxy out first, or raise the bound",
            path,
        )


def cutout_from_pil(image: Image) -> Cutout:
    """Cutout of an image of any mode; transparency is laid on black, grey is repeated, flagged."""
    mode = image.mode
    if "transparency" in image.info and mode in ("L", "RGB"):
        return _converted_cutout(image)
    if mode == "RGB":
        image.load()
        return Cutout(np.asarray(image).transpose(2, 0, 1))
    if mode in ("L", "1"):
        return _grey_cutout(np.asarray(image.convert("L")))
    if mode == "F" or mode.startswith("I"):
        return _deep_cutout(np.asarray(image))
    return _converted_cutout(image)


def _converted_cutout(image: Image) -> Cutout:
    notes = {"mode": image.mode}
    grey = image.mode in ("L", "LA", "La")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        pixels = lay_on_black(np.asarray(image.convert("RGBA")))
        notes["alpha"] = "laid on black"
    else:
        pixels = np.asarray(image.convert("RGB"))
    if grey:
        return _grey_cutout(pixels[:, :, 0])
    return Cutout(pixels.transpose(2, 0, 1), notes=notes)


def _grey_cutout(plane: Array) -> Cutout:
    array = np.broadcast_to(plane, (3, *plane.shape))
    flags = Flags.OUTSIDE_COLOUR_DOMAIN
    return Cutout(array, flags=flags, notes={"mode": "grey"})


def _deep_cutout(plane: Array) -> Cutout:
    if plane.dtype.kind in "iu":
        if plane.min() >= 0 and plane.max() <= 65535:
            return _grey_cutout(plane.astype(np.float32) / np.float32(65535))
        return _flux_cutout(plane)
    finite = plane[np.isfinite(plane)]
    if finite.size and finite.min() >= 0 and finite.max() <= 1:
        return _grey_cutout(plane.astype(np.float32))
    return _flux_cutout(plane)


def _flux_cutout(plane: Array) -> Cutout:
    array = plane.astype(np.float32)[None]
    return Cutout(array, ("unknown",), "flux")
