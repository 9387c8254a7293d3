"""Whatever a user hands over from Python to sources."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from galmorph.errors import AmbiguousShapeError
from galmorph.images.arrays import WAY_OUT, is_tensor
from galmorph.images.cutout import Cutout
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.records import find_image, make_record_source
from galmorph.images.source import Source, is_source, make_printable

SIGNS = ("getbands mode", "__array_interface__", "read", "header", "data wcs")  # of one image


def to_sources(
    images: Any, *, recursive: bool = True, within: str | None = None
) -> Iterator[Source]:
    """Turn one or many images of any kind into sources, lazily and in order.

    Path, glob, folder, container; ``bytes`` or a binary file; PIL image; array or stack of them;
    torch tensor; `NDData`, HDU, `HDUList`; `Cutout`; any iterable of these, and rows of data sets.
    Masked arrays keep their mask; objects have their position as identifier.
    """
    find = partial(discover_sources, recursive=recursive, within=within)
    if isinstance(images, (str, os.PathLike)):
        return find(images)
    if isinstance(images, Mapping):
        raise TypeError("a mapping is not an image; give its .values()")
    if hasattr(images, "colnames") or (hasattr(images, "iloc") and hasattr(images, "columns")):
        kind = type(images).__name__
        raise TypeError(f"a {kind} is not an image; give one of its columns, as in table['path']")
    images = _list_texts(images)
    if isinstance(images, (list, tuple)) and images and all(map(_is_path, images)):
        return find(images, keep_missing=True)
    if _is_single(images):
        if _is_array(images) and images.ndim not in (2, 3, 4):
            shape = tuple(images.shape)
            raise AmbiguousShapeError(f"an array of shape {shape} is no image; {WAY_OUT}")
        return _number(_split(images))
    if not isinstance(images, Iterable) and hasattr(images, "__getitem__"):
        images = map(images.__getitem__, range(len(images)))  # a data set of torch
    if isinstance(images, Iterable):
        names = _list_hdu_names(images) if isinstance(images, (list, tuple)) else []
        return _number(_flatten(images, partial(find, keep_missing=True)), names)
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


def _is_single(item: Any) -> bool:
    """Whether it is one image; of PIL ahead of the array interface, which would decode it here."""
    if isinstance(item, (bytes, bytearray, memoryview, np.ndarray, Cutout)) or is_source(item):
        return True
    # a list of HDUs is a list of images; an HDUList has more methods
    if is_tensor(item) or (isinstance(item, list) and hasattr(item, "fileinfo")):
        return True
    return any(all(hasattr(item, name) for name in sign.split()) for sign in SIGNS)


def _list_hdu_names(images: Sequence[Any]) -> list[str]:
    """EXTNAME of each HDU where they tell all images apart, else nothing."""
    names = [str(getattr(item, "name", "")) for item in images if hasattr(item, "is_image")]
    apart = len(set(names)) == len(images) > 1 and all(names) and "PRIMARY" not in names
    return list(map(make_printable, names)) if apart else []


def _flatten(images: Iterable[Any], find: Callable[[Any], Iterator[Source]]) -> Iterator[Any]:
    for item in images:
        if isinstance(item, (str, os.PathLike)):
            yield from find(item)
        elif _is_missing(item):
            yield ImageFile("", "")
        elif _is_single(item):
            yield from _split(item)
        else:
            yield _find_record(item)


def _find_record(row: Any) -> Callable[..., Source]:
    """What makes the source of a row: of a mapping, or a tuple that begins with an image."""
    if isinstance(row, tuple) and row and _is_single(row[0]):
        row = dict(zip(("image", "label"), row, strict=False))
    column = find_image(row, _is_single) if isinstance(row, Mapping) else None
    if column is None:
        raise TypeError(f"{type(row).__name__} is not an image, a path, or a row with an image")
    return partial(make_record_source, row, column, address="")


def _is_array(item: Any) -> bool:
    return is_tensor(item) or isinstance(item, np.ndarray)


def _split(item: Any) -> Iterator[Any]:
    if _is_array(item) and item.ndim == 4:
        yield from item
    else:
        yield item


def _number(items: Iterable[Any], names: Sequence[str] = ()) -> Iterator[Source]:
    for number, item in enumerate(items):
        name = names[number] if names else str(number)
        if isinstance(item, partial):
            yield item(name=name)
        else:
            yield item if is_source(item) else InMemory(name, item)
