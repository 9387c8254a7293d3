"""The run that ``classify`` and ``embed`` share: inputs to blocks to a table."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

from galmorph.cli.progress import Counter, Progress
from galmorph.cli.status import NOTHING_READ, OK, SOME_FAILED, Terminated, get_interrupt_status
from galmorph.cli.summary import Summary, say_failed
from galmorph.settings import ClassifyOptions, RunOptions

if TYPE_CHECKING:
    from galmorph.images.source import Source
    from galmorph.inference.results import ResultPlan
    from galmorph.inputs import Inputs
    from galmorph.pipeline import Pipeline
    from galmorph.tables.writers import TableWriter

__all__ = ["carry_out"]

VERBS = {"classify": "classified", "embed": "embedded"}


def carry_out(options: RunOptions, *, strict: bool, quiet: bool) -> int:
    """Carry out what the options say; the exit status.

    Raises
    ------
    GalmorphError
        What stops the run as a whole: no such path, format, model, head or device.
    """
    from galmorph.inference.memory import keep_freed_memory
    from galmorph.inputs import open_inputs
    from galmorph.tables.formats import check_format

    kind: Literal["classify", "embed"] = (
        "classify" if isinstance(options, ClassifyOptions) else "embed"
    )
    check_format(options.output, kind)
    keep_freed_memory()
    with _stopping_on_sigterm():
        inputs = open_inputs(options)
        run = _prepare(options, inputs, kind=kind, strict=strict, quiet=quiet)
        try:
            run.go()
        except KeyboardInterrupt as error:
            click.echo(_say_interrupted(run), err=True)
            return get_interrupt_status(error)
        return run.finish()


@contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does, so that nothing stays in the temporary folder."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, before)  # the second one stops at once
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop) or signal.SIG_DFL
    except ValueError:  # not in the main thread: signals stay as they are
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare(options: RunOptions, inputs: Inputs, *, kind: str, strict: bool, quiet: bool) -> _Run:
    """Load the model and settle the columns; torch is imported here."""
    from galmorph.inference.results import ResultPlan
    from galmorph.pipeline import open_pipeline

    pipeline = open_pipeline(options)
    plan = ResultPlan(
        pipeline.model, pipeline.head, with_embedding=kind == "embed", carried=inputs.carried
    )
    return _Run(options, inputs, pipeline, plan, VERBS[kind], strict, quiet)


@dataclass
class _Run:
    """A run under way."""

    options: RunOptions
    inputs: Inputs
    pipeline: Pipeline
    plan: ResultPlan
    verb: str
    strict: bool
    quiet: bool
    summary: Summary = field(default_factory=Summary)
    began: float = field(default_factory=time.monotonic)
    resumed: int = 0
    resumed_failed: int = 0
    rows_done: int = 0
    finished: str = ""

    def go(self) -> None:
        """Embed everything and write the table."""
        from galmorph.tables.writers import open_writer

        meta, fingerprint = self._describe()
        with open_writer(
            self.options.output,
            self.plan.specs,
            meta,
            fingerprint=fingerprint,
            resume=self.options.resume,
            csv_safe=self.options.csv_safe,
        ) as writer:
            self.resumed = self.rows_done = writer.rows_done
            sources = writer.skip_done(self.inputs.list_sources(self.summary.passed_over), _key)
            self.resumed_failed = writer.rows_failed
            if writer.finished:
                self.resumed, self.finished = writer.rows_done, writer.finished
                return
            with self._show_progress() as progress:
                self._fill(writer, sources, progress)

    def _fill(
        self, writer: TableWriter, sources: Iterator[Source], progress: Progress | None
    ) -> None:
        self.began = time.monotonic()
        for block in self.pipeline.run(sources):
            columns = self.plan.fill(block)
            writer.append(columns)
            self.rows_done = writer.rows_done
            self.summary.add(block.rows, columns.get("label", ()))
            if progress is not None:
                progress.update(self.rows_done, self.resumed_failed + self.summary.failed)

    def _describe(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Provenance, and the part of it that must be the same on resuming."""
        meta = {**self.pipeline.describe(), "inputs": self.inputs.describe()}
        place = ("device", "torch", "numpy", "python", "onnxruntime")
        return meta, {key: value for key, value in meta.items() if key not in place}

    @contextmanager
    def _show_progress(self, stream: TextIO | None = None) -> Iterator[Progress | None]:
        if self.quiet:
            yield None
            return
        counter = Counter(self.inputs.list_sources())
        progress = Progress(stream or sys.stderr, lambda: counter.total, start=self.resumed)
        try:
            yield progress
        finally:
            counter.stop()
            progress.close()

    def finish(self) -> int:
        """Print the summary and give the exit status."""
        if self.finished:
            said = say_failed(self.resumed_failed)
            click.echo(f"{self.finished} ({self.resumed} rows){said}", err=True)
        elif not self.quiet:
            click.echo(self._summarize(), err=True)
        return self._judge(
            self.summary.rows + self.resumed, self.summary.failed + self.resumed_failed
        )

    def _summarize(self) -> str:
        return self.summary.format(
            verb=self.verb,
            seconds=time.monotonic() - self.began,
            device=_describe_device(self.pipeline),
            output=self.options.output,
            resumed=self.resumed,
            resumed_failed=self.resumed_failed,
        )

    def _judge(self, rows: int, failed: int) -> int:
        """Exit status of the whole table, whichever run has made its rows."""
        number, count = self.options.part
        if rows == 0 and number > 1:
            click.echo(f"there are fewer cutouts than parts: {number}/{count} is empty", err=True)
            return OK
        if rows == 0:
            click.echo("Error: no image was found; a folder is searched for JPEG, PNG, TIFF, WebP "
                       "and FITS files, tar shards and Zarr", err=True)  # fmt: skip
            click.echo("\n".join(self.summary.say_passed_over()), err=True)
            return NOTHING_READ
        if failed == rows:
            first = self.summary.failures[:1] if self.quiet else []
            said = ", the first: ".join(["Error: not one cutout could be used", *first])
            click.echo(said, err=True)
            return NOTHING_READ
        return SOME_FAILED if failed and self.strict else OK


def _key(source: Source) -> tuple[str, str]:
    """What the row of a source is recognized by."""
    return source.object_id, source.address


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


def _say_interrupted(run: _Run) -> str:
    if not run.options.file:
        return f"Interrupted after {run.rows_done} rows."
    return (
        f"Interrupted: {run.rows_done} rows are kept beside {run.options.file}; "
        "run the same command with --resume to go on."
    )
