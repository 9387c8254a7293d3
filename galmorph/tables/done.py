"""What is read back of a row that an earlier run has written, to go on behind it."""

from __future__ import annotations

from typing import NamedTuple

from galmorph.flags import NO_LABEL

__all__ = ["KEY_COLUMNS", "DoneRow", "make_done"]

KEY_COLUMNS = ("object_id", "path")
"""What a row is recognized by."""


class DoneRow(NamedTuple):
    """One such row.

    Attributes
    ----------
    key : (object_id, path), or None
        None where the format has rows of numbers only.
    failed : bool
        Whether the row has no label.
    """

    key: tuple[str, str] | None
    failed: bool


def make_done(object_id: str | None, path: str | None, flags: int | str | None = None) -> DoneRow:
    """A row from its cells.

    Parameters
    ----------
    object_id, path : str or None
    flags : int, its digits, or None
        None or "" where the row has none.

    Returns
    -------
    DoneRow
    """
    return DoneRow((object_id or "", path or ""), int(flags or 0) & NO_LABEL.value != 0)
