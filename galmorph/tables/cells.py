"""Values of a column: brought to one type, and as digits where a format is text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.tables.columns import ColumnSpec

Values = list[str] | npt.NDArray[Any]  # masked where whole numbers are missing


def normalize(values: Any, spec: ColumnSpec) -> Values:
    """Bring a column to the one type that is used here, (n,) or (n, d), native byte order.

    None and masked values are missing: NaN, or masked in whole numbers and booleans.
    """
    if spec.is_text:
        return _strings(values)
    array = _numbers(values, spec)
    if array.shape[1:] != spec.shape:
        raise ValueError(f"column {spec.name}: shape {array.shape[1:]} of a row, not {spec.shape}")
    return array


def _strings(values: Any) -> list[str]:
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(object), "")
    if hasattr(values, "tolist"):
        values = values.tolist()
    return [value if type(value) is str else _string(value) for value in values]


def _string(value: Any) -> str:
    if value is None or value is np.ma.masked:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _numbers(values: Any, spec: ColumnSpec) -> npt.NDArray[Any]:
    array, mask = _split_missing(values, spec)
    if not array.size:
        return np.empty((len(array), *spec.shape), dtype=spec.dtype)
    try:
        array = array.astype(spec.dtype, casting="same_kind", copy=False)
    except TypeError as error:
        raise ValueError(f"column {spec.name}: {error}") from error
    if not np.any(mask):
        return np.ma.getdata(array)
    if spec.is_float:
        return np.where(mask, np.array(np.nan, dtype=spec.dtype), array)
    return np.ma.MaskedArray(array, mask=mask)


def _split_missing(values: Any, spec: ColumnSpec) -> tuple[npt.NDArray[Any], Any]:
    """Numbers without None, and a mask that is True where there was one."""
    if spec.shape and isinstance(values, list | tuple):
        if spec.is_float:
            values = [np.full(spec.shape, np.nan) if row is None else row for row in values]
        elif any(row is None or (isinstance(row, list) and None in row) for row in values):
            return _split_vectors(values, spec)
    array = np.asarray(values)
    if array.dtype != object:
        return array, np.ma.getmask(values)
    mask = np.array([value is None or value is np.ma.masked for value in array], dtype=bool)
    filler = np.zeros((), dtype=spec.dtype).item()
    filled = [filler if gone else value for value, gone in zip(array, mask, strict=True)]
    return np.array(filled), mask


def _split_vectors(
    values: Sequence[Any], spec: ColumnSpec
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    rows = [[None] * spec.shape[0] if row is None else list(row) for row in values]
    mask = np.array([[value is None for value in row] for row in rows], dtype=bool)
    return np.array([[value or 0 for value in row] for row in rows], dtype=spec.dtype), mask


def join_values(parts: Sequence[Values]) -> Values:
    """One column of several parts."""
    if not parts or isinstance(parts[0], list):
        return [text for part in parts for text in part]
    joined: Any = np.ma.concatenate(parts)  # type: ignore[no-untyped-call]
    return joined if np.ma.is_masked(joined) else np.ma.getdata(joined)


def to_texts(values: Values) -> list[str]:
    """A column as text: "" for what is missing."""
    if isinstance(values, list):
        return values
    return ["" if value is None or value != value else str(value) for value in to_objects(values)]


def to_objects(values: Values) -> list[Any]:
    """A column as objects of Python, vectors as arrays; None for what is masked."""
    if isinstance(values, list):
        return values
    return list(np.ma.getdata(values)) if values.ndim > 1 else list(values.tolist())


def missing_values(values: Values) -> npt.NDArray[np.bool_]:
    """Which are missing, shape (n,): "", NaN (a vector: all of it NaN) and masked values."""
    if isinstance(values, list):
        return np.array([not value for value in values], dtype=bool)
    floats = values.dtype.kind == "f"
    mask = np.isnan(np.ma.getdata(values)) if floats else np.ma.getmaskarray(values)
    return np.asarray(mask.all(axis=1) if values.ndim > 1 else mask, dtype=bool)


def to_digits(values: npt.NDArray[Any], missing: str = "") -> list[str]:
    """Numbers, shape (n,), as text: the fewest digits that give the same value back."""
    if values.dtype == np.float32:  # as a Python float it would have 17 digits
        cells: list[str] = values.astype("U").tolist()
    else:
        cells = list(map(repr, np.ma.getdata(values).tolist()))
    for row in np.flatnonzero(missing_values(values)).tolist():
        cells[row] = missing
    return cells


def format_vector(row: npt.NDArray[Any], separator: str) -> str:
    """Digits of a vector, shape (d,), enough to give the same values back; NaN as "nan"."""
    one = {"f4": "%.9g", "f8": "%.17g"}.get(row.dtype.str[1:], "%d")
    return separator.join([one] * len(row)) % tuple(row.tolist())
