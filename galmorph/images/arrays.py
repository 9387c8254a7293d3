"""Arrays, astropy objects and PIL images in memory to cutouts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    AmbiguousShapeError,
    BandError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images.bands import choose_planes
from galmorph.images.calibration import calibration_from_header, find_unit
from galmorph.images.cutout import (
    RENDERED_BANDS,
    Array,
    Cutout,
    drop_axes,
    lay_on_black,
    to_rendered,
)
from galmorph.images.fits import cutout_from_hdus
from galmorph.images.fits_files import Cards, reading_fits
from galmorph.images.hdus import HduChoice
from galmorph.images.library import check_pixels, reading
from galmorph.images.plain_fits import PlainHdu
from galmorph.images.raster import check_size, cutout_from_pil, grey_cutout
from galmorph.quantities import to_masked
from galmorph.settings import ReadOptions

WAY_OUT = (
    "give one image as (y, x), (y, x, 3) or (3, y, x), a stack as (n, 3, y, x) or (n, y, x, 3), "
    "grey images as a list of (y, x), other bands as (band, y, x) with --bands"
)


def is_tensor(item: Any) -> bool:
    """Whether it is a tensor of torch."""
    return hasattr(item, "detach") and hasattr(item, "cpu")


def to_array(item: Any) -> Array:
    """Numpy array of an array-like or a torch tensor; masked floats become NaN."""
    item = to_masked(item)
    if is_tensor(item):
        item = item.detach().cpu()
        if not hasattr(np, str(item.dtype).removeprefix("torch.")):  # bfloat16
            item = item.float()
        item = item.numpy()
    if isinstance(item, np.ma.MaskedArray) and item.dtype.kind == "f":
        item = item.filled(np.nan)
    return np.asarray(item)


def find_masked(item: Any, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """Masked pixels (y, x) of an image in integers; None for none."""
    item = to_masked(item)
    if not isinstance(item, np.ma.MaskedArray) or item.dtype.kind == "f":
        return None
    mask = np.ma.getmaskarray(item)
    if not mask.any():
        return None
    if mask.ndim == 2:
        return mask
    return np.asarray(mask.any(axis=0 if mask.shape[1:] == shape else 2))


def cutout_from_array(array: Array, options: ReadOptions, unit: str = "") -> Cutout:
    """Make a cutout of an array whose row 0 is the top.

    uint8, uint16 and floats in [0, 1] are rendered; with a unit, or named bands, it is flux.
    """
    if array.dtype.kind not in "fiub":
        raise UnsupportedImageError(f"an array of type {array.dtype} is not an image")
    if array.size == 0:
        raise UnreadableImageError(f"the array is empty {array.shape}")
    check_pixels(array.size, f"an array of shape {array.shape}", options)
    planes = order_axes(array, options.bands)
    as_flux = bool(unit) or options.bands not in (None, RENDERED_BANDS)
    rendered = None if as_flux else to_rendered(planes)
    if rendered is not None and planes.shape[0] in (1, 3):
        return Cutout(rendered) if planes.shape[0] == 3 else grey_cutout(rendered[0])
    if options.bands is None and planes.shape[0] > 1:
        only = "rendered colours only as uint8, uint16, or floats in [0, 1]"
        why = f"it has the unit {unit}" if unit else f"{array.dtype} values are {only}"
        raise BandError(
            f"it is flux, because {why}; name its {planes.shape[0]} planes, as in --bands g,r,z, "
            "or convert a rendered image to uint8"
        )
    bands, _ = choose_planes(None, options.bands, planes.shape[0])
    flux = np.ascontiguousarray(planes, dtype=np.float32)
    return Cutout(flux, bands, "flux", unit=unit)


def order_axes(array: Array, bands: Sequence[str] | None) -> Array:
    """Bring an array to (band, y, x), refusing what could mean two things."""
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise AmbiguousShapeError(f"an array of shape {array.shape} is no image; {WAY_OUT}")
    counts = (1, 3) if bands is None else (len(bands),)
    first, last = array.shape[0] in counts, array.shape[2] in counts
    if bands is None and array.dtype == np.uint8 and array.shape[2] == 4 and not first:
        return np.moveaxis(lay_on_black(array), 2, 0)
    if first == last:
        raise AmbiguousShapeError(
            f"in an array of shape {array.shape} the band axis cannot be told; {WAY_OUT}"
        )
    return array if first else np.moveaxis(array, 2, 0)


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
        super().__init__(header, data, "")
        self.wcs = wcs if getattr(wcs, "naxis", 2) == 2 else wcs.celestial

    def read(self, options: ReadOptions) -> Cutout:
        cards = Cards(self.header)
        calibrations = [calibration_from_header(cards)]
        chosen = HduChoice((self,), None, {}, [cards], calibrations)
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
