"""The run that ``classify`` and ``embed`` share: inputs to blocks to a table."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import click

from galmorph.cli.status import NOTHING_READ, OK, SOME_FAILED, get_status
from galmorph.cli.summary import Summary, say_failed, summarize
from galmorph.settings import RunOptions

if TYPE_CHECKING:
    from galmorph.pipeline import Pipeline
    from galmorph.run import Run


def carry_out(options: RunOptions) -> int:
    """Carry out what the options say; the exit status."""
    from galmorph.inference.memory import keep_freed_memory
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
