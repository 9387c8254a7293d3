"""One run: cutouts, a model, and a result that can be resumed; commands and Python share it."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from galmorph.errors import OptionError
from galmorph.inference.engine import Block, Row
from galmorph.inference.results import ResultPlan, concatenate
from galmorph.inputs import Inputs, open_inputs
from galmorph.pipeline import Pipeline, open_pipeline
from galmorph.remote import exists
from galmorph.settings import ClassifyOptions, RunOptions
from galmorph.tables.cells import normalize
from galmorph.tables.formats import STDOUT, check_format, open_reader
from galmorph.tables.journal import partial_path
from galmorph.tables.writers import KEY_COLUMNS, TableWriter, open_writer

Tell = Callable[[Sequence[Row], Mapping[str, Any]], Any]  # of the rows of a part

# Provenance that may differ on resuming.
PLACE = ("device", "torch", "numpy", "python", "onnxruntime", "command", "date", "commit")


@dataclass
class Run:
    """A run made ready; `results` carries it out.

    Of the `rows_done`, `resumed` are of an earlier run, `resumed_failed` of these failed; `where`
    says what computes if not this process.
    """

    options: RunOptions
    inputs: Inputs
    pipeline: Pipeline
    plan: ResultPlan
    command: str = ""
    rows_done: int = 0
    resumed: int = 0
    resumed_failed: int = 0
    finished: str = ""
    passed_over: Counter[str] = field(default_factory=Counter)
    where: str = ""

    def blocks(self) -> Generator[Block, None, None]:
        """Embed everything, block by block, without a result."""
        return self.pipeline.run(self.inputs.bring(self.inputs.list_sources()))

    def parts(self, tell: Tell) -> Generator[Any, None, None]:
        """Embed and write everything; what is told of each part, as it is done."""
        with closing(self.results()) as results:
            for block, columns in results:
                yield tell(block.rows, columns)

    def results(self) -> Generator[tuple[Block, dict[str, Any]], None, None]:
        """Embed everything that is left, block by block, with its columns; write where wanted."""
        if not self.options.target:
            with closing(self.blocks()) as blocks:
                for block in blocks:
                    yield block, self.plan.fill(block)
            return
        meta = self.describe()
        with open_writer(
            self.options.target,
            self.plan.specs,
            meta,
            fingerprint={key: value for key, value in meta.items() if key not in PLACE},
            resume=self.options.resume,
            csv_safe=self.options.csv_safe,
        ) as writer:
            yield from self._fill(writer)

    def _fill(self, writer: TableWriter) -> Iterator[tuple[Block, dict[str, Any]]]:
        self.resumed = self.rows_done = writer.rows_done
        listed = self.inputs.list_sources(self.passed_over)
        sources = writer.skip_done(listed, lambda source: (source.object_id, source.address))
        self.resumed, self.resumed_failed = writer.rows_done, writer.rows_failed
        self.finished = writer.finished
        if self.finished:
            return
        with closing(self.pipeline.run(self.inputs.bring(sources))) as blocks:
            for block in blocks:
                columns = self.plan.fill(block)
                writer.append(columns)
                self.rows_done = writer.rows_done
                yield block, columns

    def read_back(self) -> dict[str, Any]:
        """Columns of the finished result, with the rows of earlier runs."""
        form, columns = check_format(self.options.file, "embed"), {}
        reader = open_reader(self.options.file, exact=KEY_COLUMNS)
        found = concatenate(list(reader.chunks()))
        for spec in self.plan.specs:
            names = form.list_names([spec]) if spec.shape else [spec.name]
            parts = [found[name] for name in names if name in found]
            if parts:  # npy has the embedding alone
                values = parts[0] if len(parts) == 1 else np.ma.stack(parts, axis=1)
                columns[spec.name] = normalize(values, spec)
        return columns

    def describe(self) -> dict[str, Any]:
        """Provenance of the result."""
        from galmorph.origin import describe_origin

        coverage = self.plan.coverage
        return {
            **describe_origin(self.command),
            **self.pipeline.describe(),
            **({} if coverage is None else {"coverage": coverage}),
            "inputs": self.inputs.describe(),
        }


def open_run(options: RunOptions, *, keep_missing: bool = False, command: str = "") -> Run:
    """Check everything that can be checked without an image, and load the model."""
    classifies = isinstance(options, ClassifyOptions)
    with_embedding = options.with_embedding if isinstance(options, ClassifyOptions) else True
    coverage = options.coverage if isinstance(options, ClassifyOptions) else None
    check_format(options.target or STDOUT, "classify" if not with_embedding else "embed")
    if classifies and options.target.lower().endswith(".npy"):
        raise OptionError(f"{options.target}: npy holds embeddings only, no classes; use .npz")
    inputs = open_inputs(options, keep_missing=keep_missing)
    if options.file:
        _check_unasked(options)
    pipeline = open_pipeline(options)
    plan = ResultPlan(pipeline.model, pipeline.head, with_embedding, inputs.carried, coverage)
    return Run(options, inputs, pipeline, plan, command)


def _check_unasked(options: RunOptions) -> None:
    if options.resume or options.overwrite:
        return
    partial = partial_path(options.file)
    if partial.exists():
        raise OptionError(
            f"{partial}: an earlier run has left its rows; go on with --resume, or start anew with "
            "--overwrite"
        )
    if exists(options.file):
        raise OptionError(
            f"{options.file} is there already; replace it with --overwrite, see with --resume "
            "whether it is whole, or name another file with -o"
        )
