"""Provenance of a result: nested mappings, made flat for formats that have only key = value."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from galmorph.quantities import plain

Scalar = str | int | float | bool

_SHA256 = re.compile('"[0-9a-f]{64}"')


def _walk(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or not prefix):
        for key, item in value.items():
            yield from _walk(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _scalar(value: Any) -> Scalar:
    if value is None:
        return ""
    if isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, ensure_ascii=False)


def flatten_meta(meta: Mapping[str, Any]) -> dict[str, Scalar]:
    """One level of keys, as ``model.name``, and scalars; lists as JSON text, None as ""."""
    return {key: _scalar(value) for key, value in _walk(plain(meta), "")}


def list_differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say where two nested mappings differ: ``head: recorded "gz2", now "sdss"`` and so on."""
    before, after = (
        {key: json.dumps(value, ensure_ascii=False) for key, value in _walk(plain(each), "")}
        for each in (recorded, now)
    )
    return [
        f"{key}: recorded {_shorten(before.get(key))}, now {_shorten(after.get(key))}"
        for key in before | after
        if before.get(key) != after.get(key)
    ]


def _shorten(text: str | None) -> str:
    """The beginning of a sha256; all else as it is."""
    if text is None:
        return "nothing"
    return f'{text[:9]}..."' if _SHA256.fullmatch(text) else text


def nest_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `flatten_meta`; what is nested stays so, and "" is None."""
    nested: dict[str, Any] = {}
    for key, value in meta.items():
        *parents, name = key.split(".")
        place = nested
        for parent in parents:
            inner = place.get(parent)
            inner = inner if isinstance(inner, dict) else {}
            place[parent], place = inner, inner
        place[name] = None if value == "" else value
        if isinstance(value, str) and value.startswith("["):
            with suppress(ValueError):
                place[name] = json.loads(value)
    return nested
