"""The run that ``classify`` and ``embed`` share: inputs to blocks to a table."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import click

from galmorph.cli.progress import Counter, Progress
from galmorph.cli.request import Inputs, Request, open_inputs
from galmorph.cli.status import NOTHING_READ, OK, SOME_FAILED, Terminated, get_interrupt_status
from galmorph.cli.summary import Summary, say_failed
from galmorph.errors import GalmorphError

if TYPE_CHECKING:
    from galmorph._api import Job
    from galmorph.images.source import Source
    from galmorph.inference.results import ResultPlan
    from galmorph.tables.writers import TableWriter

__all__ = ["make_job", "run_request"]

VERBS = {"classify": "classified", "embed": "embedded"}


def run_request(request: Request) -> int:
    """Carry out a request.

    Parameters
    ----------
    request : Request

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    GalmorphError
        What stops the run as a whole: no such path, format, model, head or device.
    click.UsageError
        A value outside its range.
    """
    from galmorph.inference.memory import keep_freed_memory
    from galmorph.tables.formats import check_format

    check_format(request.output, request.kind)
    keep_freed_memory()
    with _stopping_on_sigterm():
        inputs = open_inputs(request)
        run = _prepare(request, inputs)
        try:
            run.go()
        except KeyboardInterrupt as error:
            click.echo(_say_interrupted(request, run), err=True)
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


def _prepare(request: Request, inputs: Inputs) -> _Run:
    """Load the model and settle the columns; torch is imported here."""
    job = make_job(request)
    from galmorph.inference.results import ResultPlan

    plan = ResultPlan(
        job.model, job.head, with_embedding=request.kind == "embed", carried=inputs.carried
    )
    return _Run(request, inputs, job, plan)


def make_job(request: Request) -> Job:
    """Load the model that a request names, with all settings.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Job

    Raises
    ------
    click.UsageError
        A value outside its range.
    """
    try:
        settings = _make_settings(request)
    except ValueError as error:
        if isinstance(error, GalmorphError):
            raise
        raise click.UsageError(str(error)) from error
    from galmorph._api import Job, find_head, load_model

    model = load_model(request.model, backend=request.runs_with)
    head = find_head(model, request.head) if request.head is not None else None
    return Job(model, head, *settings)


def _make_settings(request: Request) -> tuple[Any, Any, Any, Any]:
    """Options of reading, field, rendering and engine; the device is checked too."""
    from galmorph.inference.backends import check_backend
    from galmorph.inference.engine import EngineOptions
    from galmorph.preprocessing.pipeline import FieldOptions
    from galmorph.preprocessing.render import RenderOptions

    check_backend(request.runs_with, device=request.device, precision=request.precision)
    if request.cuts_out:
        field = FieldOptions(crop=request.crop if request.crop is not None else 1.0)
    else:
        field = FieldOptions(crop=request.crop, fov=request.fov)
    return (
        request.read_options(),
        field,
        RenderOptions(stretch=request.stretch, nan=request.nan, zeropoint=request.zeropoint),
        EngineOptions(request.device, request.batch_size, request.workers, request.precision),
    )


@dataclass
class _Run:
    """A run under way."""

    request: Request
    inputs: Inputs
    job: Job
    plan: ResultPlan
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
            self.request.output,
            self.plan.specs,
            meta,
            fingerprint=fingerprint,
            resume=self.request.resume,
        ) as writer:
            self.resumed = self.rows_done = writer.rows_done
            sources = writer.skip_done(self.inputs.list_sources(), _key)
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
        for block in self.job.run(sources):
            columns = self.plan.fill(block)
            writer.append(columns)
            self.rows_done = writer.rows_done
            self.summary.add(block.rows, columns.get("label", ()))
            if progress is not None:
                progress.update(self.rows_done, self.resumed_failed + self.summary.failed)

    def _describe(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Provenance, and the part of it that must be the same on resuming."""
        meta = {**self.job.describe(), "inputs": self.inputs.describe()}
        place = ("device", "torch", "numpy", "python", "onnxruntime")
        return meta, {key: value for key, value in meta.items() if key not in place}

    @contextmanager
    def _show_progress(self, stream: TextIO | None = None) -> Iterator[Progress | None]:
        if self.request.quiet:
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
        elif not self.request.quiet:
            click.echo(self._summarize(), err=True)
        return self._judge(
            self.summary.rows + self.resumed, self.summary.failed + self.resumed_failed
        )

    def _summarize(self) -> str:
        return self.summary.format(
            verb=VERBS[self.request.kind],
            seconds=time.monotonic() - self.began,
            device=_describe_device(self.job),
            output=self.request.output,
            resumed=self.resumed,
            resumed_failed=self.resumed_failed,
        )

    def _judge(self, rows: int, failed: int) -> int:
        """Exit status of the whole table, whichever run has made its rows."""
        number, count = self.request.part
        if rows == 0 and number > 1:
            click.echo(f"there are fewer cutouts than parts: {number}/{count} is empty", err=True)
            return OK
        if rows == 0:
            click.echo("Error: no image was found; a folder is searched for JPEG, PNG, TIFF, "
                       "WebP and FITS files and tar shards", err=True)  # fmt: skip
            return NOTHING_READ
        if failed == rows:
            first = self.summary.failures[:1] if self.request.quiet else []
            said = ", the first: ".join(["Error: not one cutout could be used", *first])
            click.echo(said, err=True)
            return NOTHING_READ
        return SOME_FAILED if failed and self.request.strict else OK


def _key(source: Source) -> tuple[str, str]:
    """What the row of a source is recognized by."""
    return source.object_id, source.address


def _describe_device(job: Job) -> str:
    from galmorph.inference.backends import check_backend

    device, precision = check_backend(
        job.model.backend, device=job.options.device, precision=job.options.precision
    )
    if job.model.backend == "onnx":
        return f"cpu, {precision}, onnxruntime"
    if device != "cpu":
        return f"{device}, {precision}"
    if job.options.device == "cpu":
        return f"cpu, {precision} (as asked for)"
    from galmorph.inference.devices import explain_devices

    return f"cpu, {precision} (cuda is {explain_devices()['cuda']})"


def _say_interrupted(request: Request, run: _Run) -> str:
    if request.output == "-":
        return f"Interrupted after {run.rows_done} rows."
    return (
        f"Interrupted: {run.rows_done} rows are kept beside {request.output}; "
        "run the same command with --resume to go on."
    )
