"""Astropy objects, PIL images and bytes in memory to cutouts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    GalmorphError,
    ImageError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.flags import Flags
from galmorph.images.arrays import cutout_from_array, find_masked, to_array
from galmorph.images.bands import choose_planes, find_band_names
from galmorph.images.cutout import Cutout
from galmorph.images.fits import cutout_from_hdus, find_wanted_region
from galmorph.images.options import ReadOptions
from galmorph.images.planes import drop_axes, to_cutout_array
from galmorph.images.quiet import quiet
from galmorph.images.raster import cutout_from_pil
from galmorph.images.regions import cut_array, find_region
from galmorph.images.sky import SkyFrame, frame_from_wcs
from galmorph.images.survey import find_survey, find_unit, find_zeropoint

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
        Bands, bounds, and the part of the sky to cut out of what has a WCS.
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
    unit = find_unit({"BUNIT": getattr(item, "unit", "")})  # of an astropy Quantity
    cutout = cutout_from_array(
        to_array(item), options=options, object_id=object_id, path=path, unit=unit
    )
    masked = find_masked(item, cutout.array.shape[1:])
    return cutout if masked is None else replace(cutout, bad=masked)


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
    data = to_array(item.data)
    if data.ndim < 2 or data.size == 0:
        raise UnsupportedImageError(f"an array of shape {data.shape} is not an image", path)
    header = _find_cards(item)
    part = _cut(drop_axes(data), _find_mask(item), item.wcs, options, path)
    named = find_band_names(header, part.planes.shape[0])
    bands, indices = choose_planes(named, options.bands, part.planes.shape[0], path or "the object")
    array, kind = to_cutout_array(part.planes if indices is None else part.planes[indices], bands)
    bad = None if part.bad is None else np.ascontiguousarray(part.bad[::-1])
    frame, notes, zeropoint = part.frame, part.notes, find_zeropoint(header)
    if frame.orientation:
        notes["orientation"] = frame.orientation
    if not math.isnan(zeropoint):
        notes["zeropoint"] = repr(zeropoint)
    return Cutout(
        array, bands, kind, object_id, path, frame.ra, frame.dec, frame.pixel_scale,
        find_survey(header), find_unit(header), part.flags, bad, notes,
    )  # fmt: skip


def _find_cards(item: Any) -> dict[str, Any]:
    header = dict(getattr(item, "meta", None) or {})
    if getattr(item, "unit", None) is not None:
        header["BUNIT"] = str(item.unit)
    return header


def _find_mask(item: Any) -> npt.NDArray[np.bool_] | None:
    mask = getattr(item, "mask", None)
    if mask is None and isinstance(item.data, np.ma.MaskedArray):  # Cutout2D has no mask
        mask = np.ma.getmaskarray(item.data)
    if mask is None:
        return None
    full = np.broadcast_to(np.asarray(mask, dtype=bool), np.asarray(item.data).shape)
    return np.asarray(drop_axes(full).any(axis=0))


@dataclass(slots=True)
class _Part:
    """What is taken of an object, row 0 at the bottom."""

    planes: npt.NDArray[Any]
    bad: npt.NDArray[np.bool_] | None
    frame: SkyFrame
    flags: Flags
    notes: dict[str, str]


def _cut(
    planes: npt.NDArray[Any],
    bad: npt.NDArray[np.bool_] | None,
    wcs: Any,
    options: ReadOptions,
    path: str,
) -> _Part:
    rows, columns = planes.shape[-2:]
    region = find_wanted_region(options)
    if region is None:
        if planes.size > options.max_pixels:
            raise ImageError(f"{planes.shape} is more than max_pixels = {options.max_pixels}", path)
        return _Part(planes, bad, frame_from_wcs(wcs, (rows, columns)), Flags.NONE, {})
    box = find_region(wcs, (rows, columns), region, path)
    box.check_size(options, path)
    flags = Flags.PADDED if box.padded(rows, columns) else Flags.NONE
    bad = None if bad is None else cut_array(bad[None], box)[0]
    return _Part(cut_array(planes, box), bad, box.frame, flags, {"region": str(box)})
