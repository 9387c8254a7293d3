"""Astropy objects, PIL images and bytes in memory to cutouts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import UnsupportedImageError
from galmorph.images.arrays import cutout_from_array, find_masked, to_array
from galmorph.images.calibration import calibration_from_header, find_unit
from galmorph.images.cutout import Cutout
from galmorph.images.fits import cutout_from_hdus
from galmorph.images.fits_files import Cards, reading_fits
from galmorph.images.hdus import HduChoice
from galmorph.images.library import reading
from galmorph.images.plain_fits import PlainHdu, PlainHeader
from galmorph.images.planes import drop_axes
from galmorph.images.raster import check_size, cutout_from_pil
from galmorph.settings import ReadOptions


def cutout_from_object(item: Any, options: ReadOptions) -> Cutout:
    """Make a cutout of an object in memory; FITS-like ones have row 0 at the bottom."""
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


class _Hdu(PlainHdu):
    """An image in memory, which knows its WCS, as the readers of FITS take it."""

    def __init__(self, header: Mapping[str, Any], data: Any, wcs: Any) -> None:
        super().__init__(PlainHeader(header), data, "")
        self.wcs = wcs

    def read(self, options: ReadOptions) -> Cutout:
        cards = Cards(self.header)
        calibrations = [calibration_from_header(cards)]
        chosen = HduChoice((self,), None, "", headers=[cards], calibrations=calibrations)
        return cutout_from_hdus([self], options, chosen=chosen)


def _from_nddata(item: Any, options: ReadOptions) -> Cutout:
    data = to_array(item.data)
    if data.ndim < 2 or data.size == 0:
        raise UnsupportedImageError(f"an array of shape {data.shape} is not an image")
    header = dict(getattr(item, "meta", None) or {})
    if getattr(item, "unit", None) is not None:
        header["BUNIT"] = str(item.unit)
    mask = _find_mask(item, data.shape)
    if mask is not None and data.dtype.kind == "f":
        data, mask = np.where(mask, data.dtype.type(np.nan), data), None
    cutout = _Hdu(header, data, item.wcs).read(options)
    if mask is None:
        return cutout
    bad = drop_axes(mask).any(axis=0).astype(np.float32)
    order = {"ROWORDER": header.get("ROWORDER", "")}
    read = _Hdu(order, bad, item.wcs).read(replace(options, bands=None))
    return replace(cutout, bad=read.array[0] > 0)


def _find_mask(item: Any, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """Mask of each pixel of each plane; None where nothing is masked."""
    mask = getattr(item, "mask", None)
    if mask is None:  # Cutout2D has none of its own
        mask = getattr(item.data, "mask", None)
    if mask is None or not np.any(mask):
        return None
    return np.broadcast_to(np.asarray(mask, dtype=bool), shape)
