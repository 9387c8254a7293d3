"""What a run gave, in a few lines for people."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from galmorph.flags import ADVICE, NO_LABEL, decode_flags
from galmorph.images.source import make_object_id, make_printable
from galmorph.settings import ClassifyOptions

if TYPE_CHECKING:
    from galmorph.inference.engine import Row
    from galmorph.run import Run

MAX_SHOWN = 10  # failures that are shown one by one; all of them stand in the table
UNSURE = 0.5  # below this confidence most people would have said something else
MAX_REMEMBERED = 1_000_000  # identifiers among which repeated ones are looked for


def format_duration(seconds: float) -> str:
    """Seconds as people say them: 7 s, 1:15 min, 2:01 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


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
    """Counts of one run: rows per label and flag, those that failed, are unsure or repeated."""

    rows: int = 0
    failed: int = 0
    unsure: int = 0
    repeated: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    example: str = ""
    _seen: set[str] = field(default_factory=set)

    def add(self, rows: Sequence[Row], columns: Mapping[str, Any]) -> None:
        """Count a block of rows, with the columns of its results."""
        self.rows += len(rows)
        self.labels.update(label for label in columns.get("label", ()) if label)
        self.unsure += sum(bool(share < UNSURE) for share in columns.get("confidence", ()))
        for row in rows:
            self._look_at_name(row.object_id)
            self.fields.update([row.notes["field"]] if "field" in row.notes else [])
            if not row.flags & NO_LABEL:
                self.remarks.update(decode_flags(row.flags))
                continue
            self.failed += 1
            if len(self.failures) < MAX_SHOWN:
                self.failures.append(_describe_failure(row))

    def merge(self, other: Summary) -> None:
        """Add what was counted elsewhere; identifiers are compared within each part alone."""
        for name in ("rows", "failed", "unsure", "repeated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("labels", "remarks", "fields"):
            getattr(self, name).update(getattr(other, name))
        self.failures = (self.failures + other.failures)[:MAX_SHOWN]
        self.example = self.example or other.example

    def _look_at_name(self, object_id: str) -> None:
        if object_id in self._seen:
            self.repeated += 1
            self.example = self.example or object_id
        elif len(self._seen) < MAX_REMEMBERED:
            self._seen.add(object_id)

    def format(self, run: Run, seconds: float, device: str) -> str:
        """Make the text of a run that took so long."""
        output, good = run.options.target, self.rows - self.failed
        verb = "classified" if isinstance(run.options, ClassifyOptions) else "embedded"
        rate = f", {self.rows / seconds:.1f} images/s" if seconds > 0 else ""
        lines = [f"{verb} {good} of {self.rows} cutouts in {format_duration(seconds)}{rate}"]
        if run.resumed:
            said = say_failed(run.resumed_failed)
            lines.append(f"{run.resumed} rows were there from an earlier run{said}")
        if self.fields:
            told = ", ".join(f"{name} {n}" for name, n in self.fields.most_common())
            lines.append(f"field of view: {told}")
        look = f"look at it: galmorph report {shlex.quote(output)} -o report.html"
        table = [] if output == "-" else [f"table: {output}"]
        if table and self.rows + run.resumed and not output.endswith(".npy"):  # holds no names
            table.append(look)
        found = chain(self._say_labels(), self._say_flags(good), self._say_failures())
        passed = self.say_passed_over()
        return "\n".join([*lines, *found, *passed, f"device: {device}", *table])

    def say_passed_over(self) -> list[str]:
        """Which files of folders were no images by their names."""
        told = ", ".join(f"{suffix} {n}" for suffix, n in self.passed_over.most_common())
        return [f"files passed over: {told}"] if told else []

    def _say_labels(self) -> Iterator[str]:
        width = max((len(label) for label in self.labels), default=0)
        yield from (f"  {label:<{width}}  {n:>7}" for label, n in self.labels.most_common())
        if self.unsure:
            yield f"unsure: {self.unsure}, no class with half of the votes (column confidence)"
        if self.repeated:
            yield (
                f"repeated: {self.repeated} rows have an object_id of before, {self.example!r} for "
                "one: choose another --id-column, join bands by --band-column, or tell by path"
            )

    def _say_flags(self, good: int) -> Iterator[str]:
        for name, count in self.remarks.most_common():
            advice = f": {ADVICE[name]}" if name in ADVICE else ""
            yield f"{name} {count} of {good}{advice}"

    def _say_failures(self) -> Iterator[str]:
        if not self.failed:
            return
        yield f"failed: {self.failed}"
        yield from (f"  {failure}" for failure in self.failures)
        if self.failed > len(self.failures):
            yield f"  and {self.failed - len(self.failures)} more: see the column message"


def summarize(rows: Sequence[Row], columns: Mapping[str, Any]) -> Summary:
    """Counts of a part, light enough to be sent."""
    summary = Summary()
    summary.add(rows, columns)
    summary._seen.clear()
    return summary
