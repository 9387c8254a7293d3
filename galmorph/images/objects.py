"""Astropy objects, PIL images and bytes in memory to cutouts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    ImageTooLargeError,
    UnsupportedImageError,
)
from galmorph.flags import Flags
from galmorph.images.arrays import cutout_from_array, find_masked, to_array
from galmorph.images.bands import find_band_names
from galmorph.images.calibration import calibration_from_header
from galmorph.images.cutout import Cutout
from galmorph.images.fits import (
    Planes,
    assemble_planes,
    cutout_from_hdus,
    find_wanted_region,
    is_top_down,
)
from galmorph.images.fits_files import reading_fits
from galmorph.images.pillow import check_size, cutout_from_pil
from galmorph.images.planes import ASINH_NOTE, drop_axes, undo_asinh
from galmorph.images.regions import cut_array, find_region
from galmorph.images.sky import frame_from_wcs
from galmorph.images.source import reading
from galmorph.images.survey import find_unit
from galmorph.settings import ReadOptions


def cutout_from_object(item: Any, options: ReadOptions) -> Cutout:
    """Make a cutout of an object in memory.

    FITS-like objects (HDU, HDUList, NDData, CCDData, Cutout2D) have row 0 at the bottom and are
    flipped; plain arrays, tensors and PIL images have row 0 on top and are not.
    """
    if isinstance(item, Cutout):
        return item
    if hasattr(item, "getbands"):
        check_size(item.size, len(item.getbands()), options)
        with reading("the image is damaged or cut short"):  # decoding is lazy
            return cutout_from_pil(item)
    is_hdu = hasattr(item, "header") and hasattr(item, "is_image")
    if isinstance(item, list) or is_hdu:
        with reading_fits():  # data are read lazily, so a damaged file shows here
            return cutout_from_hdus([item] if is_hdu else item, options)
    if hasattr(item, "wcs") and hasattr(item, "data"):
        return _from_nddata(item, options)
    unit = find_unit({"BUNIT": getattr(item, "unit", "")})  # of an astropy Quantity
    cutout = cutout_from_array(to_array(item), options, unit)
    masked = find_masked(item, cutout.array.shape[1:])
    return cutout if masked is None else replace(cutout, bad=masked)


def _from_nddata(item: Any, options: ReadOptions) -> Cutout:
    data = to_array(item.data)
    if data.ndim < 2 or data.size == 0:
        raise UnsupportedImageError(f"an array of shape {data.shape} is not an image")
    header = _find_cards(item)
    mask = _find_mask(item, data.shape)
    bad = None
    if mask is not None and data.dtype.kind == "f":
        data = np.where(mask, data.dtype.type(np.nan), data)
    elif mask is not None:
        bad = np.asarray(drop_axes(mask).any(axis=0))
    linear = undo_asinh(data, header)
    planes, bad = _cut(drop_axes(data if linear is None else linear), bad, item.wcs, options)
    if linear is not None:
        planes.notes |= {"counts": ASINH_NOTE}
    count = planes.array.shape[0]
    planes.calibrations = [calibration_from_header(header)] * count
    cutout = assemble_planes(planes, header, find_band_names(header, count), options)
    if bad is not None and not is_top_down(header):
        bad = np.ascontiguousarray(bad[::-1])
    return cutout if bad is None else replace(cutout, bad=bad)


def _find_cards(item: Any) -> dict[str, Any]:
    header = dict(getattr(item, "meta", None) or {})
    if getattr(item, "unit", None) is not None:
        header["BUNIT"] = str(item.unit)
    return header


def _find_mask(item: Any, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """Mask of each pixel of each plane; None where nothing is masked."""
    mask = getattr(item, "mask", None)
    if mask is None:  # Cutout2D has none of its own
        mask = getattr(item.data, "mask", None)
    if mask is None or not np.any(mask):
        return None
    return np.broadcast_to(np.asarray(mask, dtype=bool), shape)


def _cut(
    planes: npt.NDArray[Any],
    bad: npt.NDArray[np.bool_] | None,
    wcs: Any,
    options: ReadOptions,
) -> tuple[Planes, npt.NDArray[np.bool_] | None]:
    """The part that is asked for, row 0 at the bottom, and its bad pixels."""
    rows, columns = planes.shape[-2:]
    region = find_wanted_region(options)
    if region is None:
        if planes.size > options.max_pixels:
            raise ImageTooLargeError(f"{planes.shape} is more than max_pixels")
        return Planes(planes, frame_from_wcs(wcs, (rows, columns)), Flags.NONE, {}), bad
    box = find_region(wcs, (rows, columns), region)
    box.check_size(options)
    flags = Flags.PADDED if box.padded(rows, columns) else Flags.NONE
    bad = None if bad is None else cut_array(bad[None], box)[0]
    return Planes(cut_array(planes, box), box.frame, flags, {"region": str(box)}), bad
