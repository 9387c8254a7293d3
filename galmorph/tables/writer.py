"""What takes the rows of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from galmorph.tables.cells import Values, normalize
from galmorph.tables.columns import ColumnSpec

__all__ = ["TableWriter"]

Block = Mapping[str, Any]
T = TypeVar("T")


class TableWriter:
    """Takes blocks of rows. Use it in a ``with`` statement, or call `close`.

    Attributes
    ----------
    specs : tuple of ColumnSpec
    meta : dict
        Provenance; may be changed until the writer is closed.
    rows_done : int
        Rows that are safe, those of an earlier run included.
    rows_failed : int
        Rows of an earlier run that have no label, once `skip_done` has looked at them.
    finished : str
        Empty, or where an earlier run has finished the table: a sentence that says so.
    """

    finished = ""

    def __init__(self, specs: Sequence[ColumnSpec], meta: Mapping[str, Any]) -> None:
        self.specs = tuple(specs)
        self.meta = dict(meta)
        self.rows_done = self.rows_failed = 0

    def append(self, block: Block) -> None:
        """Add rows.

        Parameters
        ----------
        block : mapping of str to sequence
            One sequence per column, all of one length, vectors as (n, d). None and masked values
            are missing.

        Raises
        ------
        ValueError
            Where a column is absent, unknown, of another length, or cannot be converted.
        """
        columns = _normalize_block(block, self.specs)
        if len(columns[0]):
            self._write(columns)
            self.rows_done += len(columns[0])

    def _write(self, columns: Sequence[Values]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Finish the table and put it under its final name."""

    def abandon(self) -> None:
        """Stop without a final table; what was written stays as a partial result."""

    def skip_done(self, items: Iterable[T], key: Callable[[T], tuple[str, str]]) -> Iterator[T]:
        """Leave out the inputs whose rows an earlier run has written.

        Parameters
        ----------
        items : iterable
            All inputs of the run, in order.
        key : callable
            Gives the ``object_id`` and ``path`` that the row of an input has.

        Yields
        ------
        object
            The inputs that are still to be done, in the order in which `append` takes their rows.

        Raises
        ------
        ResumeError
            Where an input is not the one whose row stands at its place.
        """
        return iter(items)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def _normalize_block(block: Block, specs: Sequence[ColumnSpec]) -> list[Values]:
    names = [spec.name for spec in specs]
    if set(block) != set(names):
        absent, unknown = set(names) - set(block), set(block) - set(names)
        raise ValueError(f"a block lacks the columns {sorted(absent)}, has {sorted(unknown)} more")
    columns = [normalize(block[spec.name], spec) for spec in specs]
    lengths = {spec.name: len(values) for spec, values in zip(specs, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a block differ in length: {lengths}")
    return columns
