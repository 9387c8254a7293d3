"""Ray: Ray Data hands parts of the work to actors, each of which holds the model."""

from __future__ import annotations

import os
import pickle
from collections.abc import Generator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galmorph.errors import DeviceError, MissingExtraError, OptionError
from galmorph.frames import partition
from galmorph.inference.backends import check_backend
from galmorph.inference.memory import keep_freed_memory
from galmorph.parts import Folder, Lister, Worker
from galmorph.remote import is_url
from galmorph.run import Run, Tell, open_run
from galmorph.settings import EngineOptions, RunOptions
from galmorph.tables.formats import list_suffixes

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["ClusterRun", "classify", "open_cluster_run"]

PART_ROWS = {"cpu": 2048, "cuda": 16384}
"""Multiples of a batch: with the same batches, rows are those of one machine to the last bit."""


@dataclass(frozen=True)
class _Place:
    """What an actor gets of its node."""

    device: str
    cores: int

    @property
    def needs(self) -> dict[str, int]:
        return {"num_cpus": self.cores, "num_gpus": int(self.device == "cuda")}

    def __str__(self) -> str:
        return "GPU" if self.device == "cuda" else f"{self.cores} core(s)"


def classify(dataset: Dataset, **options: Any) -> Dataset:
    """Classify the images of a data set of Ray Data, lazily.

    An autoscaling pool of actors holds the model: one for each GPU of the cluster, or else one for
    each core, or for every few with ``workers``.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Rows with an image: a column ``bytes`` as ``ray.data.read_binary_files`` gives it,
        ``image`` (arrays), ``path`` (files that every node can read), or positions.
    **options
        As of `galmorph.partition`.

    Returns
    -------
    ray.data.Dataset
        The columns that `galmorph.partition` gives, a row for each row.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    OptionError
        The cluster has no such device.
    """
    ray = _import_ray()
    if not ray.is_initialized():
        ray.init()
    given = {each.name: options.get(each.name, each.default) for each in fields(EngineOptions)}
    place = _choose_place(EngineOptions(**given))
    options |= {"device": place.device, "workers": place.cores}
    return dataset.map_batches(
        _Partitions,
        fn_constructor_args=(options,),
        batch_format="pandas",
        batch_size=PART_ROWS[place.device],
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=None),
        **place.needs,
    )


class _Partitions:
    """An actor that classifies batches."""

    def __init__(self, options: dict[str, Any]) -> None:
        keep_freed_memory()
        self._options = options

    def __call__(self, frame: Any) -> Any:
        return partition(frame, **self._options)


class _Maker:
    """An actor that makes parts."""

    def __init__(self, worker: Worker) -> None:
        worker.start()
        self._worker = worker

    def __call__(self, batch: Any) -> Any:
        return self._worker(batch)


@dataclass
class ClusterRun(Run):
    """A run on a cluster made ready; `parts` carries it out.

    Attributes
    ----------
    place : _Place
        What an actor gets.
    """

    place: _Place = field(default_factory=lambda: _Place("cpu", 1))

    @property
    def part_rows(self) -> int:
        """Rows of a part: whole batches."""
        size = self.pipeline.options.batch_size or 1
        return -(-PART_ROWS[self.place.device] // size) * size

    def describe(self) -> dict[str, Any]:
        """Provenance of the result."""
        used = {"device": self.place.device, "precision": self.pipeline.options.precision}
        return {**super().describe(), **used, "part_rows": self.part_rows}

    def parts(self, tell: Tell) -> Generator[Any, None, None]:
        """Do what is not done yet; what is told of each part that was made, as it is done.

        Raises
        ------
        ResumeError, OutputError
            As for a table.
        """
        import ray

        try:
            for row in self._make_dataset(tell).iter_rows():
                done = pickle.loads(row["done"])
                self.rows_done += done.rows
                if done.told is None:
                    self.resumed += done.rows
                    self.resumed_failed += done.failed
                yield done.told
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            said = str(error).strip().partition("\n")[0]
            raise DeviceError(f"Ray gave up ({said}); --resume keeps what is done") from error

    def _make_dataset(self, tell: Tell) -> Dataset:
        """Parts as they are listed on this node, and done where there is room."""
        import ray
        from ray.data import ActorPoolStrategy, DataContext

        given, folder = self.options, Folder(self.options.target)
        there = folder.begin(self.describe(), resume=given.resume, overwrite=given.overwrite)
        lister = Lister(replace(given, model=None), folder, there, self.part_rows, os.getcwd())
        engine = replace(self.pipeline.options, device=self.place.device, workers=self.place.cores)
        worker = Worker.of(self, folder, tell)
        worker.pipeline = replace(worker.pipeline, options=engine)
        context = DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.raise_original_map_exception = True
        context.target_max_block_size = 1  # a block for each part, as soon as it is listed
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        with DataContext.current(context):
            parts = ray.data.from_items([0]).map_batches(lister, num_cpus=0, label_selector=here)
            return parts.map_batches(
                _Maker,
                fn_constructor_args=(worker,),
                batch_size=1,
                compute=ActorPoolStrategy(min_size=1, max_size=None),
                **self.place.needs,
            )


def open_cluster_run(options: RunOptions, *, command: str = "") -> ClusterRun:
    """As `open_run`, for ``--engine ray``; starts Ray, or connects to a cluster.

    Raises
    ------
    OptionError
        There is no cluster, or an option does not fit.
    MissingExtraError
        Ray is not installed.
    """
    _check(options)
    ray = _import_ray()
    alone = replace(options, output="", resume=False, overwrite=False, device="cpu")
    run = open_run(alone, command=command)
    if not ray.is_initialized():
        _connect(ray, options.address)
    place = _choose_place(options)
    engine = replace(run.pipeline.options, precision=_choose_precision(ray, options, place))
    nodes = sum(node["Alive"] for node in ray.nodes())
    given = {each.name: getattr(run, each.name) for each in fields(Run)} | {
        "options": options,
        "pipeline": replace(run.pipeline, options=engine),
        "where": f"{nodes} node(s) of Ray, an actor for each {place}, {engine.precision}",
    }
    return ClusterRun(**given, place=place)


def _check(options: RunOptions) -> None:
    """Refuse what does not go together with parts."""
    if not options.file or Path(options.file).suffix.lower() in list_suffixes("embed"):
        raise OptionError("--engine ray writes Parquet parts into a folder: name one, as -o out/")
    if any(map(is_url, options.mosaic)):
        raise OptionError("--engine ray cuts from a --mosaic on a disk that all nodes see")
    if options.survey:
        raise OptionError(
            "--engine ray and --survey: every node would ask the survey. Download first, with "
            "galmorph cutouts"
        )
    paths = [options.file, *(options.images or ())]
    out, *given = (path if is_url(path) else os.path.realpath(path) for path in paths)
    if inside := [path for path in given if f"{out}/".startswith(f"{path.rstrip('/')}/")]:
        raise OptionError(f"{options.file} lies in {inside[0]}, which is searched: name another -o")


def _import_ray() -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray[data]", "ray", "for --engine ray") from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Start Ray here, or find the cluster at an address."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it says errors where there are none
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().partition("\n")[0]
        raise OptionError(f"--address {address}: there is no Ray cluster ({said})") from error


def _choose_place(options: EngineOptions | RunOptions) -> _Place:
    """GPUs where the cluster has some, unless the CPU is asked for."""
    import ray

    there = ray.cluster_resources()
    gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 1))
    wanted = options.device.partition(":")[0]
    if wanted not in ("auto", "cpu", "cuda") or (wanted == "cuda" and not gpus):
        raise OptionError(f"--device {options.device}: the nodes of the cluster have none")
    if wanted == "cpu" or not gpus:
        return _Place("cpu", options.workers or 1)
    return _Place("cuda", options.workers or max(1, cores // gpus))


def _choose_precision(ray: Any, options: RunOptions, place: _Place) -> str:
    """The same on all nodes: that of this one, or of a GPU."""
    given = {"device": place.device, "precision": options.precision}
    if place.device == "cpu":
        return check_backend(options.runs_with, **given)[1]
    asked = ray.remote(**place.needs)(check_backend).remote(options.runs_with, **given)
    return str(ray.get(asked)[1])
