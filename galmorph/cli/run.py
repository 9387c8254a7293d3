"""The run that ``classify`` and ``embed`` share, and what it gave in a few lines for people."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.status import NOTHING_READ, OK, SOME_FAILED, get_status
from galmorph.flags import ADVICE, NO_LABEL, decode_flags
from galmorph.images.source import make_object_id, make_printable
from galmorph.settings import ClassifyOptions, RunOptions

if TYPE_CHECKING:
    from galmorph.inference.engine import Row
    from galmorph.pipeline import Pipeline
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
        seen = output.endswith(".npy") or getattr(run.options, "report", None)  # npy has no names
        if table and self.rows + run.resumed and not seen:
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


def carry_out(options: RunOptions) -> int:
    """Carry out what the options say; the exit status."""
    from galmorph.inference.cores import keep_freed_memory
    from galmorph.inference.processes import expect_files
    from galmorph.origin import say_command
    from galmorph.run import open_run

    command = say_command(click.get_current_context().find_root().obj["typed"])
    run: Run
    if options.engine == "ray":
        from galmorph.ray import open_cluster_run

        run = open_cluster_run(options, command=command)
    else:
        keep_freed_memory()
        expect_files([*(options.mosaic or ()), *(options.images or ())])
        run = open_run(options, command=command)
    summary = Summary(passed_over=run.passed_over)
    began = time.monotonic()
    try:
        _go(run, summary)
    except KeyboardInterrupt as error:
        click.echo(_say_interrupted(run), err=True)
        return get_status(error)
    if run.finished:
        said = say_failed(run.resumed_failed)
        click.echo(f"{run.finished} ({run.resumed} rows){said}", err=True)
    elif not options.quiet:
        device = run.where or _describe_device(run.pipeline)
        click.echo(summary.format(run, time.monotonic() - began, device), err=True)
    return _judge(run, summary)


def _go(run: Run, summary: Summary) -> None:
    from galmorph.progress import show_progress

    quiet = run.options.quiet
    items = () if quiet or not run.inputs.can_be_counted else run.inputs.list_sources()
    tell = summary.add if run.options.engine == "local" else summarize
    with show_progress(not quiet, items=items) as report, closing(run.parts(tell)) as parts:
        for part in parts:
            if part is not None:
                summary.merge(part)
            report(run.rows_done, run.resumed_failed + summary.failed, run.resumed)


def _judge(run: Run, summary: Summary) -> int:
    """Exit status of the whole table, whichever run has made its rows."""
    rows, failed = summary.rows + run.resumed, summary.failed + run.resumed_failed
    number, count = run.options.part
    if rows == 0 and number > 1:
        click.echo(f"there are fewer cutouts than parts: {number}/{count} is empty", err=True)
        return OK
    if rows == 0:
        click.echo("Error: no image was found; a folder is searched for JPEG, PNG, TIFF, WebP "
                   "and FITS files, tar shards and Zarr", err=True)  # fmt: skip
        for line in summary.say_passed_over() if run.options.quiet else ():  # else it was said
            click.echo(line, err=True)
        return NOTHING_READ
    if failed == rows:
        first = summary.failures[:1] if run.options.quiet else []
        said = ", the first: ".join(["Error: not one cutout could be used", *first])
        click.echo(said, err=True)
        return NOTHING_READ
    return SOME_FAILED if failed and run.options.strict else OK


def _describe_device(pipeline: Pipeline) -> str:
    from galmorph.inference.backends import check_backend

    device, precision = check_backend(
        pipeline.model.backend, device=pipeline.options.device, precision=pipeline.options.precision
    )
    if pipeline.model.backend == "onnx":
        return f"cpu, {precision}, onnxruntime"
    if device != "cpu":
        return f"{device}, {precision}"
    if pipeline.options.device == "cpu":
        return f"cpu, {precision} (as asked for)"
    from galmorph.inference.devices import explain_devices

    return f"cpu, {precision} (cuda is {explain_devices()['cuda']})"


def _say_interrupted(run: Run) -> str:
    if not run.options.file:
        return f"Interrupted after {run.rows_done} rows."
    from galmorph.tables.journal import partial_path

    place = run.options.file if run.where else partial_path(run.options.file)
    return (
        f"Interrupted: {run.rows_done} rows are kept in {place}; "
        "run the same command with --resume to go on."
    )
