"""Rows of a data set: an image among other values, as in Parquet files."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from galmorph.errors import UnreadableImageError
from galmorph.images.files import ImageFile
from galmorph.images.memory import InMemory
from galmorph.images.source import (
    Lost,
    Source,
    find_column,
    make_object_id,
    make_printable,
    place_columns,
    to_text,
)
from galmorph.remote import fetch, is_url

METADATA = "metadata.jsonl"

IMAGE_NAMES = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "tif", "tiff", "fits")


def find_image(record: Mapping[str, Any], is_image: Callable[[Any], bool]) -> str | None:
    """Name of the image of a row: one of the usual ones, else the first that holds one."""
    names = [*(name for name in IMAGE_NAMES if name in record), *record]
    return next((name for name in names if _is_file(record[name]) or is_image(record[name])), None)


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and ("bytes" in value or "path" in value)


def make_record_source(
    record: Mapping[str, Any], column: str, *, name: str, address: str, folder: str = ""
) -> Source:
    """The source of a row: of its image, or the file it names, with its numbers and texts."""
    image, file = record[column], ""
    if _is_file(image):
        file, image = image.get("path") or "", image.get("bytes")
    columns = _find_columns(record, column)
    given = columns.get(find_column(columns) or "")
    known = "" if given is None else str(given)
    object_id = make_printable(known) or (make_object_id(file) if file else name)
    if image is not None:
        return InMemory(object_id, image, address, columns)
    for path in (os.path.join(folder, file), file):
        if file and os.path.isfile(path):
            return ImageFile(object_id, path, columns)
    reason = f"the row names a file that is not there: {file}" if file else "the row is empty"
    return Lost(object_id, address, UnreadableImageError(make_printable(reason)), columns)


def _find_columns(record: Mapping[str, Any], column: str) -> dict[str, Any]:
    return place_columns(
        {
            key: to_text(value) if isinstance(value, str) else value
            for key, value in record.items()
            if key != column and isinstance(value, (str, int, float, type(None)))
        }
    )


def read_metadata(path: str) -> dict[str, dict[str, Any]]:
    """Columns of images by their paths, of the `METADATA` of their folder, as far as it is good."""
    found: dict[str, dict[str, Any]] = {}
    bad = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
    copy = fetch(path) if is_url(path) else None
    with suppress(*bad), open(copy.path if copy else path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            name = os.path.join(os.path.dirname(path), row["file_name"])
            found[name] = _find_columns(row, "file_name")
    return found
