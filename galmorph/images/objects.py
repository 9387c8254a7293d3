"""Astropy objects, PIL images and bytes in memory to cutouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    GalmorphError,
    ImageError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.arrays import cutout_from_array, to_array
from galmorph.images.bands import choose_planes, find_band_names
from galmorph.images.cutout import Cutout
from galmorph.images.fits import cutout_from_hdus
from galmorph.images.options import ReadOptions
from galmorph.images.planes import drop_axes, to_cutout_array
from galmorph.images.quiet import quiet
from galmorph.images.raster import cutout_from_pil
from galmorph.images.sky import frame_from_wcs
from galmorph.images.survey import find_survey, find_unit

__all__ = ["cutout_from_object"]


def cutout_from_object(
    item: Any, *, options: ReadOptions, object_id: str = "", path: str = ""
) -> Cutout:
    """Make a cutout of an object in memory.

    FITS-like objects (HDU, HDUList, NDData, CCDData, Cutout2D) have row 0 at the bottom and are
    flipped; plain arrays, tensors and PIL images have row 0 on top and are not.

    Parameters
    ----------
    item : object
        Anything that `galmorph.images.arrays.to_sources` takes, except paths and bytes.
    options : ReadOptions
        Bands and bounds.
    object_id, path : str
        Carried into the cutout.

    Raises
    ------
    ImageError, BandError, AmbiguousShapeError
        See `cutout_from_array` and `galmorph.images.fits.read_fits`.
    """
    if isinstance(item, Cutout):
        return item
    if hasattr(item, "getbands"):
        return _from_pil(item, object_id, path)
    if isinstance(item, list):
        return _from_hdus(item, options, object_id, path)
    if hasattr(item, "header") and hasattr(item, "is_image"):
        return _from_hdus([item], options, object_id, path)
    if hasattr(item, "wcs") and hasattr(item, "data"):
        return _from_nddata(item, options, object_id, path)
    return cutout_from_array(to_array(item), options=options, object_id=object_id, path=path)


def _from_pil(item: Any, object_id: str, path: str) -> Cutout:
    try:
        return cutout_from_pil(item, object_id=object_id, path=path)
    except GalmorphError:
        raise
    except Exception as error:  # decoding is lazy, so a damaged file shows here
        raise UnreadableImageError(f"the image cannot be decoded ({error})", path) from error


def _from_hdus(hdus: Any, options: ReadOptions, object_id: str, path: str) -> Cutout:
    with quiet():
        try:
            return cutout_from_hdus(hdus, options=options, object_id=object_id, path=path)
        except GalmorphError:
            raise
        except Exception as error:  # data are read lazily, so a damaged file shows here
            raise UnreadableImageError(f"the HDU cannot be read ({error})", path) from error


def _from_nddata(item: Any, options: ReadOptions, object_id: str, path: str) -> Cutout:
    data = np.asarray(item.data)
    if data.ndim < 2 or data.size == 0:
        raise UnsupportedImageError(f"an array of shape {data.shape} is not an image", path)
    if data.size > options.max_pixels:
        raise ImageError(f"{data.shape} is more than max_pixels = {options.max_pixels}", path)
    header = dict(getattr(item, "meta", None) or {})
    if getattr(item, "unit", None) is not None:
        header["BUNIT"] = str(item.unit)
    planes = drop_axes(data)
    named = find_band_names(header, planes.shape[0])
    bands, indices = choose_planes(named, options.bands, planes.shape[0], path or "the object")
    planes = planes if indices is None else planes[indices]
    array, kind = to_cutout_array(planes, bands)
    frame = frame_from_wcs(item.wcs, (data.shape[-2], data.shape[-1]))
    notes = {"orientation": frame.orientation} if frame.orientation else {}
    return Cutout(
        array, bands, kind, object_id, path, frame.ra, frame.dec, frame.pixel_scale,
        find_survey(header), find_unit(header), bad=_flip_mask(item), notes=notes,
    )  # fmt: skip


def _flip_mask(item: Any) -> npt.NDArray[np.bool_] | None:
    mask = getattr(item, "mask", None)
    if mask is None:
        return None
    full = np.broadcast_to(np.asarray(mask, dtype=bool), np.asarray(item.data).shape)
    flat = np.logical_or.reduce(full.reshape(-1, *full.shape[-2:]), axis=0)
    return np.ascontiguousarray(flat[::-1])
