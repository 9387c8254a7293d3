"""What the raster formats share: decoding by Pillow, and its images to cutouts."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import ImageTooLargeError, UnreadableImageError
from galmorph.flags import Flags
from galmorph.images.cutout import Cutout
from galmorph.images.planes import lay_on_black
from galmorph.images.quiet import quiet
from galmorph.images.source import reading
from galmorph.settings import ReadOptions

if TYPE_CHECKING:
    from PIL.Image import Image


Array = npt.NDArray[Any]


def decode(
    data: bytes, open_image: Callable[[io.BytesIO], Image], name: str, options: ReadOptions
) -> Cutout:
    """Decode by the plugin of one format; what else goes wrong is one sentence.

    Not by ``Image.open``, which tries several and warns of large images: the size is checked here.
    """
    damaged = f"the {name} is damaged or cut short, or of a rare kind that is not read"
    with reading(damaged), quiet():  # Pillow warns of tags, which say nothing of the pixels
        image = open_image(io.BytesIO(data))
        width = image.width
        check_size(image.size, len(image.getbands()), options)
        if options.min_side is not None and name == "JPEG":
            image.draft(None, (options.min_side, options.min_side))
        cutout = cutout_from_pil(image)
    factor = round(width / cutout.array.shape[2])
    return cutout if factor == 1 else cutout.note(reduced=str(factor))


def check_size(size: tuple[int, int], planes: int, options: ReadOptions) -> None:
    """Refuse an empty image, and one of more pixels than `options.max_pixels`."""
    if size[0] < 1 or size[1] < 1:
        raise UnreadableImageError(f"the image is empty ({size[0]} x {size[1]})")
    if size[0] * size[1] * planes > options.max_pixels:
        raise ImageTooLargeError(
            f"{size[0]} x {size[1]} pixels in {planes} channels are more than max_pixels = "
            f"{options.max_pixels}; cut the galaxy out first, or raise the bound"
        )


def cutout_from_pil(image: Image) -> Cutout:
    """Cutout of an image of any mode; transparency is laid on black, grey is repeated, flagged."""
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        return _deep_cutout(np.asarray(image))
    see_through = "A" in mode or "a" in mode or "transparency" in image.info
    if see_through:
        pixels = lay_on_black(np.asarray(image.convert("RGBA")))
    elif mode in ("L", "1"):
        return grey_cutout(np.asarray(image.convert("L")))
    else:
        pixels = np.asarray(image if mode == "RGB" else image.convert("RGB"))
    if mode in ("1", "L", "LA", "La"):
        return grey_cutout(pixels[:, :, 0])
    notes = {} if mode == "RGB" and not see_through else {"mode": mode}
    notes |= {"alpha": "laid on black"} if see_through else {}
    return Cutout(pixels.transpose(2, 0, 1), notes=notes)


def grey_cutout(plane: Array) -> Cutout:
    """One plane (y, x) as three."""
    array = np.broadcast_to(plane, (3, *plane.shape))
    return Cutout(array, flags=Flags.OUTSIDE_COLOUR_DOMAIN, notes={"mode": "grey"})


def _deep_cutout(plane: Array) -> Cutout:
    whole = plane.dtype.kind in "iu"
    finite, values = plane[np.isfinite(plane)], plane.astype(np.float32)
    if finite.size == 0 and not whole:
        return Cutout(values[None], ("unknown",), "flux")
    top = 65535 if whole else 1
    if finite.min() >= 0 and finite.max() <= top:
        return grey_cutout(values / np.float32(top))
    return Cutout(values[None], ("unknown",), "flux")
