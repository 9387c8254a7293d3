"""A run in parts, each a Parquet file with its number as name: made twice, it is the same."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

from galmorph.errors import OptionError, ResumeError, UnreadableImageError
from galmorph.flags import NO_LABEL
from galmorph.images.memory import Copied
from galmorph.images.source import Source
from galmorph.inference.cores import keep_freed_memory
from galmorph.inference.reading import chunk
from galmorph.inference.results import ResultPlan, concatenate
from galmorph.inputs import Inputs
from galmorph.pipeline import Pipeline
from galmorph.quantities import plain
from galmorph.remote import Copy, fetch, is_url, list_folder, remove
from galmorph.run import PLACE, Run, Tell
from galmorph.tables.escape import readable
from galmorph.tables.formats import open_reader
from galmorph.tables.formats.parquet import PROVENANCE
from galmorph.tables.provenance import list_differences
from galmorph.tables.writers import KEY_COLUMNS, list_done, open_writer
from galmorph.writing import say_unwritable, write_whole


class Done(NamedTuple):
    """A part that is in the folder; where an earlier run has made it, nothing is told of it."""

    rows: int
    failed: int
    told: Any = None


class Part(NamedTuple):
    """Some of the cutouts, and whether an earlier run has made their file."""

    name: str
    sources: Sequence[Source]
    there: bool


@dataclass(frozen=True)
class Folder:
    """A folder of parts, on a disk that all nodes see or at a URL, and what run they are of."""

    url: str

    def place(self, name: str) -> str:
        """Path or URL of a file in it."""
        return f"{self.url.rstrip('/')}/{name}"

    def list_parts(self) -> frozenset[str]:
        """Names of the parts in it."""
        names: list[str] = []
        if is_url(self.url):
            with suppress(UnreadableImageError):
                names = [name.rpartition("/")[2] for name, _ in list_folder(self.url)]
        elif os.path.isdir(self.url):
            names = os.listdir(self.url)
        return frozenset(n for n in names if n.startswith("part-") and n.endswith(".parquet"))

    def write(self, name: str, data: bytes) -> None:
        """Put a file into it, whole or not at all."""
        way_out = "make room and go on with --resume"
        if not is_url(self.url):
            with say_unwritable(self.url, way_out):
                os.makedirs(self.url, exist_ok=True)
        write_whole(self.place(name), data, way_out)

    def begin(self, meta: dict[str, Any], *, resume: bool, overwrite: bool) -> frozenset[str]:
        """Compare with what is there, else say in the folder what run this is; parts to keep."""
        for left in Path(self.url).glob(".*.tmp"):  # by a process that was killed
            left.unlink()
        there = self.list_parts()
        if there and resume:
            self._compare(meta)
            return there
        if there and not overwrite:
            raise OptionError(
                f"{self.url} holds {len(there)} parts of an earlier run; go on with --resume, or "
                "start anew with --overwrite"
            )
        for name in there:
            (remove if is_url(self.url) else os.remove)(self.place(name))
        self.write(PROVENANCE, json.dumps(plain(meta), indent=1).encode())
        return frozenset()

    def _compare(self, meta: dict[str, Any]) -> None:
        beside = self.place(PROVENANCE)
        copy = fetch(beside) if is_url(beside) else None
        try:
            before = json.loads(Path(copy.path if copy else beside).read_bytes())
        except (OSError, ValueError) as error:
            raise ResumeError(f"{beside}: cannot be read; start anew with --overwrite") from error
        compared = ({k: v for k, v in each.items() if k not in PLACE} for each in (before, meta))
        if differences := list_differences(*compared):
            raise ResumeError(
                f"{self.url}: belongs to another run. {'; '.join(differences)}. Repeat the options "
                "of that run, or start anew with --overwrite"
            )

    def look(self, name: str, part: Sequence[Source]) -> Done:
        """The part of that name, which must be of these sources."""
        reader = open_reader(self.place(name), exact=KEY_COLUMNS, only={*KEY_COLUMNS, "flags"})
        rows = [row for columns in reader.chunks() for row in list_done(columns)]
        now = [(readable(source.object_id), readable(source.address)) for source in part]
        if [row.key for row in rows] != now:
            raise ResumeError(
                f"{self.place(name)}: holds other cutouts than the inputs at its place; the "
                "inputs have changed: restore them, or start anew with --overwrite"
            )
        return Done(len(rows), sum(row.failed for row in rows))


def cut_parts(
    inputs: Inputs, folder: Folder, there: frozenset[str], rows: int, passed_over: Counter[str]
) -> Iterator[Part]:
    """Cut the list of the cutouts, lazily."""
    left = set(there)
    for number, sources in enumerate(chunk(inputs.list_sources(passed_over), rows)):
        name = f"part-{number:06d}.parquet"
        yield Part(name, sources, name in left)
        left.discard(name)
    if left:
        raise ResumeError(f"{folder.place(min(left))}: the inputs end before it")


@dataclass
class Worker:
    """Makes the files of parts, with a model that it keeps."""

    inputs: Inputs
    pipeline: Pipeline
    plan: ResultPlan
    folder: Folder
    tell: Tell
    home: str
    copy: Copy | None = None

    @classmethod
    def of(cls, run: Run, folder: Folder, tell: Tell) -> Self:
        """What can be sent of a run."""
        light = replace(run.inputs.options, model=None)
        inputs = replace(run.inputs, options=light, catalogue=None)
        return cls(inputs, run.pipeline, run.plan, folder, tell, os.getcwd())

    def start(self) -> None:
        """Make this process ready."""
        keep_freed_memory()
        self.inputs.allow()
        with suppress(OSError):  # then only paths from the root and URLs are found here
            os.chdir(self.home)

    def make(self, part: Part) -> Done:
        """Make one part, or look at one that is there, and tell of it."""
        if part.there:
            return self.folder.look(part.name, part.sources)
        rows, filled = [], []
        for block in self.pipeline.run(self.inputs.bring(self._find_here(part.sources))):
            rows += block.rows
            filled.append(self.plan.fill(block))  # while the next ones are read
        columns = concatenate(filled)
        with TemporaryDirectory() as own:
            with open_writer(place := Path(own, part.name), self.plan.specs) as writer:
                writer.append(columns)
            self.folder.write(part.name, place.read_bytes())
        failed = sum(bool(row.flags & NO_LABEL) for row in rows)
        return Done(len(rows), failed, self.tell(rows, columns))

    def _find_here(self, sources: Sequence[Source]) -> Iterator[Source]:
        """The same; those in a copy that is on another node, in one on this."""
        for source in sources:
            if isinstance(source, Copied) and not os.path.exists(source.copy.path):
                if self.copy is None or self.copy.url != source.copy.url:
                    self.copy = fetch(source.copy.url)
                yield source.move(self.copy)
            else:
                yield source
