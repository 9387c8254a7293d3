"""Whatever a user hands over from Python to sources, and objects in memory to cutouts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import (
    AmbiguousShapeError,
    BandError,
    ImageError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.flags import Flags
from galmorph.images.bands import RENDERED_NAMES, choose_planes
from galmorph.images.cutout import Cutout
from galmorph.images.discover import discover_sources
from galmorph.images.options import ReadOptions
from galmorph.images.planes import to_rendered
from galmorph.images.source import Source, make_object_id, make_printable
from galmorph.quantities import to_masked

__all__ = ["cutout_from_array", "find_masked", "to_array", "to_sources"]

Array = npt.NDArray[Any]
WAY_OUT = (
    "give one image as (y, x), (y, x, 3) or (3, y, x), a stack as (n, 3, y, x) or (n, y, x, 3), "
    "grey images as a list of (y, x), other bands as (band, y, x) with bands=(...)"
)


def to_sources(images: Any, *, recursive: bool = True) -> Iterator[Source]:
    """Turn one or many images of any kind into sources, lazily and in order.

    Parameters
    ----------
    images : object
        Path, glob, folder, container (see `discover_sources`); ``bytes`` or a binary file object;
        PIL image; array (y, x), (y, x, 3), (3, y, x) or a stack with one more axis; torch
        tensor; `NDData`, `CCDData`, `Cutout2D`, HDU, `HDUList`; `Cutout` or `Source`; or any
        iterable of these, which is consumed one by one. Masked arrays, those of astropy as
        well, keep their mask.
    recursive : bool
        As in `discover_sources`.

    Returns
    -------
    iterator of Source
        Objects in memory get their position as identifier, a list of HDUs their names where all
        are different.

    Raises
    ------
    UnreadableImageError
        A path that does not exist (for a single path, before the iteration starts).
    AmbiguousShapeError
        An array with fewer than two or more than four axes.
    TypeError
        Not an image at all.
    """
    if isinstance(images, (str, os.PathLike)):
        return discover_sources(images, recursive=recursive)
    if isinstance(images, Mapping):
        raise TypeError("a mapping is not an image; give its .values()")
    if hasattr(images, "colnames") or (hasattr(images, "iloc") and hasattr(images, "columns")):
        kind = type(images).__name__
        raise TypeError(f"a {kind} is not an image; give one of its columns, as in table['path']")
    images = _list_texts(images)
    if _is_path_list(images):
        return discover_sources(images, recursive=recursive, keep_missing=True)
    if _is_single(images):
        _check_axes(images)
        return _number(_split(images))
    if isinstance(images, Iterable):
        names = _list_hdu_names(images) if isinstance(images, (list, tuple)) else []
        return _number(_flatten(images, recursive), names)
    raise TypeError(f"{type(images).__name__} is not an image, a path, or an iterable of these")


def _list_texts(images: Any) -> Any:
    """An array or table column of text as a list of str; anything else as it is."""
    if not isinstance(images, np.ndarray) or images.ndim != 1 or images.dtype.kind not in "OSU":
        return images
    texts = [os.fsdecode(item) if isinstance(item, bytes) else item for item in images.tolist()]
    return texts if all(_is_path(text) or _is_missing(text) for text in texts) else images


def _is_path(item: Any) -> bool:
    return isinstance(item, (str, os.PathLike))


def _is_missing(item: Any) -> bool:
    """None, NaN, or what pandas and numpy have in an empty cell."""
    empty = item is None or item is np.ma.masked or type(item).__name__ == "NAType"
    return empty or (isinstance(item, float) and item != item)


def _is_path_list(images: Any) -> bool:
    return isinstance(images, (list, tuple)) and len(images) > 0 and all(map(_is_path, images))


def _is_single(item: Any) -> bool:
    return (
        isinstance(item, (bytes, bytearray, memoryview, np.ndarray, Cutout, Source))
        or _is_pil(item)  # ahead of the array interface, which would decode it here
        or hasattr(item, "__array_interface__")
        or _is_tensor(item)
        or hasattr(item, "read")
        or hasattr(item, "header")
        or _is_nddata(item)
        or _is_hdu_list(item)
    )


def _is_tensor(item: Any) -> bool:
    return hasattr(item, "detach") and hasattr(item, "cpu")


def _is_nddata(item: Any) -> bool:
    return hasattr(item, "data") and hasattr(item, "wcs")


def _is_hdu_list(item: Any) -> bool:
    # a list of HDUs is a list of images; an HDUList has more methods
    return isinstance(item, list) and hasattr(item, "fileinfo")


def _is_pil(item: Any) -> bool:
    return hasattr(item, "getbands") and hasattr(item, "mode")


def _list_hdu_names(images: Sequence[Any]) -> list[str]:
    """EXTNAME of each HDU where they tell all images apart, else nothing."""
    names = [str(getattr(item, "name", "")) for item in images if hasattr(item, "is_image")]
    apart = len(set(names)) == len(images) > 1 and all(names) and "PRIMARY" not in names
    return list(map(make_printable, names)) if apart else []


def _flatten(images: Iterable[Any], recursive: bool) -> Iterator[Any]:
    for item in images:
        if isinstance(item, (str, os.PathLike)):
            yield from _look_into(os.fspath(item), recursive)
        elif _is_missing(item):
            yield Source("", data=UnreadableImageError("no file is named here"))
        elif _is_single(item):
            yield from _split(item)
        else:
            raise TypeError(f"{type(item).__name__} is not an image or a path")


def _look_into(path: str, recursive: bool) -> Iterator[Source]:
    """Images of one path among many; one that does not exist is an error of its row."""
    try:
        found = discover_sources(path, recursive=recursive)
    except ImageError as error:
        found = iter([Source(make_object_id(path), path, data=error)])
    yield from found


def _is_array(item: Any) -> bool:
    return _is_tensor(item) or isinstance(item, np.ndarray)


def _check_axes(item: Any) -> None:
    if _is_array(item) and item.ndim not in (2, 3, 4):
        shape = tuple(item.shape)
        raise AmbiguousShapeError(f"an array of shape {shape} is no image; {WAY_OUT}")


def _split(item: Any) -> Iterator[Any]:
    """Take a stack apart; everything else is one image."""
    if _is_array(item) and item.ndim == 4:
        yield from item
    else:
        yield item


def _number(items: Iterable[Any], names: Sequence[str] = ()) -> Iterator[Source]:
    for number, item in enumerate(items):
        name = names[number] if names else str(number)
        yield item if isinstance(item, Source) else Source(name, data=item)


def to_array(item: Any) -> Array:
    """Numpy array of an array-like or a torch tensor on any device and of any precision.

    Masked floats become NaN; for masked integers see `find_masked`.
    """
    item = to_masked(item)
    if _is_tensor(item):
        item = item.detach().cpu()
        if not hasattr(np, str(item.dtype).removeprefix("torch.")):  # bfloat16
            item = item.float()
        item = item.numpy()
    if isinstance(item, np.ma.MaskedArray) and item.dtype.kind == "f":
        item = item.filled(np.nan)
    return np.asarray(item)


def find_masked(item: Any, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """Pixels of an image in integers of which a plane is masked.

    Parameters
    ----------
    item : object
        As given to `to_array`.
    shape : (int, int)
        Rows and columns of its cutout.

    Returns
    -------
    ndarray of bool, shape (y, x), or None
        None where nothing is masked that `to_array` has not made NaN.
    """
    item = to_masked(item)
    if not isinstance(item, np.ma.MaskedArray) or item.dtype.kind == "f":
        return None
    mask = np.ma.getmaskarray(item)
    if not mask.any():
        return None
    if mask.ndim == 2:
        return mask
    return np.asarray(mask.any(axis=0 if mask.shape[1:] == shape else 2))


def cutout_from_array(
    array: Array, *, options: ReadOptions, object_id: str = "", path: str = "", unit: str = ""
) -> Cutout:
    """Make a cutout of an array whose row 0 is the top.

    uint8 is rendered, uint16 is rendered over 65535. Floats in [0, 1] are rendered; other values
    are flux and need `options.bands` where there is more than one plane; so is everything for
    which bands other than red, green, blue are given.

    Parameters
    ----------
    array : ndarray
        (y, x), (y, x, 1 or 3), (1 or 3, y, x), RGBA uint8 (y, x, 4), or (band, y, x) with bands.
    options : ReadOptions
        `bands` and `max_pixels` are used.
    object_id, path : str
        Carried into the cutout.
    unit : str
        Of the values, where it is known; then they are flux.

    Raises
    ------
    AmbiguousShapeError
        Axes that could mean two things.
    BandError
        Flux in several planes without names.
    UnreadableImageError, UnsupportedImageError, ImageTooLargeError
        Empty, not numbers, or beyond `max_pixels`.
    """
    where = path or "the array"
    if array.dtype.kind not in "fiub":
        raise UnsupportedImageError(f"an array of type {array.dtype} is not an image", path)
    if array.size == 0:
        raise UnreadableImageError(f"the array is empty {array.shape}", path)
    if array.size > options.max_pixels:
        raise ImageTooLargeError(f"{array.shape} is more than max_pixels", path)
    planes = order_axes(array, options.bands)
    as_flux = bool(unit) or options.bands not in (None, RENDERED_NAMES)
    rendered = None if as_flux else to_rendered(planes)
    if rendered is not None and planes.shape[0] in (1, 3):
        return _rendered_cutout(rendered, object_id, path)
    if options.bands is None and planes.shape[0] > 1:
        raise BandError(
            f"{where}: it is flux, {_explain_flux(array, unit)}; name its {planes.shape[0]} "
            "planes as in bands=('g', 'r', 'z'), or convert a rendered image to uint8"
        )
    bands, _ = choose_planes(None, options.bands, planes.shape[0], where)
    flux = np.ascontiguousarray(planes, dtype=np.float32)
    return Cutout(flux, bands, "flux", object_id, path, unit=unit)


def _explain_flux(array: Array, unit: str) -> str:
    if unit:
        return f"because it has the unit {unit}"
    return (
        f"because {array.dtype} values are rendered colours only as uint8, uint16, or floats "
        "in [0, 1]"
    )


def _rendered_cutout(planes: Array, object_id: str, path: str) -> Cutout:
    if planes.shape[0] == 3:
        return Cutout(planes, object_id=object_id, path=path)
    grey = np.broadcast_to(planes, (3, *planes.shape[1:]))
    flags = Flags.OUTSIDE_COLOUR_DOMAIN
    return Cutout(grey, object_id=object_id, path=path, flags=flags, notes={"mode": "grey"})


def order_axes(array: Array, bands: tuple[str, ...] | None) -> Array:
    """Bring an array to (band, y, x), refusing what could mean two things.

    Parameters
    ----------
    array : ndarray
        Two or three axes.
    bands : tuple of str or None
        Their number decides how many planes are looked for.
    """
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise AmbiguousShapeError(f"an array of shape {array.shape} is no image; {WAY_OUT}")
    if bands is not None:
        counts: tuple[int, ...] = (len(bands),)
    else:
        counts = (1, 3)
    first, last = array.shape[0] in counts, array.shape[2] in counts
    if bands is None and array.dtype == np.uint8 and array.shape[2] == 4 and not first:
        return np.moveaxis(_drop_alpha(array), 2, 0)
    if first == last:
        raise AmbiguousShapeError(
            f"in an array of shape {array.shape} the band axis cannot be told; {WAY_OUT}"
        )
    return array if first else np.moveaxis(array, 2, 0)


def _drop_alpha(array: Array) -> Array:
    from galmorph.images.raster import lay_on_black

    return lay_on_black(array)
