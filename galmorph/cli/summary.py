"""What a run gave, in a few lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from galmorph.cli.progress import format_duration
from galmorph.flags import NO_LABEL, decode_flags
from galmorph.images.source import make_object_id, make_printable

if TYPE_CHECKING:
    from galmorph.inference.engine import Row

__all__ = ["Summary", "say_failed"]

MAX_SHOWN = 10
"""Failures that are shown one by one; all of them stand in the table."""


def say_failed(count: int) -> str:
    """End of a sentence about rows of an earlier run."""
    return f", {count} of them failed" if count else ""


def _describe_failure(row: Row) -> str:
    """Where, and why; the identifier too where the path does not show it."""
    shown = make_printable(row.path)
    text = row.message if row.message.startswith(shown) else f"{shown}: {row.message}"
    by_path = make_object_id(row.path.rpartition("::")[2])
    return text if row.object_id in (by_path, "") else f"{row.object_id}: {text}"


@dataclass
class Summary:
    """Counts of one run.

    Attributes
    ----------
    rows, failed : int
        Rows of this run; those of them without a label.
    labels, remarks : Counter
        Rows per label, and per flag of rows that have one.
    failures : list of str
        The first few, each with its reason.
    passed_over : Counter
        Files in folders that were not taken, by suffix.
    """

    rows: int = 0
    failed: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def add(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        """Count a block of rows.

        Parameters
        ----------
        rows : sequence of Row
        labels : sequence of str
            One per row; empty where there are no classes.
        """
        self.rows += len(rows)
        self.labels.update(label for label in labels if label)
        for row in rows:
            if row.flags & NO_LABEL:
                self._add_failure(row)
            else:
                self.remarks.update(decode_flags(row.flags))

    def _add_failure(self, row: Row) -> None:
        self.failed += 1
        if len(self.failures) < MAX_SHOWN:
            self.failures.append(_describe_failure(row))

    def say_passed_over(self) -> list[str]:
        """Which files of folders were no images by their names."""
        told = ", ".join(f"{suffix} {n}" for suffix, n in self.passed_over.most_common())
        return [f"files passed over: {told}"] if told else []

    def format(
        self,
        *,
        verb: str,
        seconds: float,
        device: str,
        output: str,
        resumed: int = 0,
        resumed_failed: int = 0,
    ) -> str:
        """Make the text.

        Parameters
        ----------
        verb : str
            "classified" or "embedded".
        seconds : float
            Duration of the run.
        device : str
            What was used, and why no GPU.
        output : str
            Where the table is; "-" for standard output.
        resumed, resumed_failed : int
            Rows that an earlier run had done; those of them without a label.
        """
        good = self.rows - self.failed
        rate = f", {self.rows / seconds:.1f} images/s" if seconds > 0 else ""
        lines = [f"{verb} {good} of {self.rows} cutouts in {format_duration(seconds)}{rate}"]
        if resumed:
            said = say_failed(resumed_failed)
            lines.append(f"{resumed} rows were there from an earlier run{said}")
        width = max((len(label) for label in self.labels), default=0)
        lines += [f"  {label:<{width}}  {n:>7}" for label, n in self.labels.most_common()]
        if self.remarks:
            told = ", ".join(f"{name} {n}" for name, n in self.remarks.most_common())
            lines.append(f"flags: {told}")
        if self.failed:
            lines.append(f"failed: {self.failed}")
            lines += [f"  {failure}" for failure in self.failures]
            more = self.failed - len(self.failures)
            lines += [f"  and {more} more: see the column message"] if more else []
        lines += self.say_passed_over()
        lines.append(f"device: {device}")
        if output != "-":
            lines.append(f"table: {output}")
        return "\n".join(lines)
