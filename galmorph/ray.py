"""Ray: parts of the work are handed to actors, each of which holds the model."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galmorph.errors import DeviceError, GalmorphWarning, OptionError
from galmorph.frames import partition
from galmorph.images.library import import_extra
from galmorph.inference.backends import check_backend
from galmorph.inference.cores import keep_freed_memory
from galmorph.parts import Done, Folder, Part, Worker, cut_parts
from galmorph.remote import is_url
from galmorph.run import Run, Tell, open_run
from galmorph.settings import BackendName, EngineOptions, RunOptions
from galmorph.surveys.client import CONNECTIONS
from galmorph.tables.formats import list_suffixes

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["ClusterRun", "classify", "open_cluster_run"]

PART_ROWS = {"cpu": 2048, "cuda": 16384}
"""Multiples of a batch: with the same batches, rows are those of one machine to the last bit."""

MOST_CORES = 4  # of an actor: at the end of a part some of them have nothing to do
MOST_DEATHS = 5  # of actors with the same part
QUIET_SECONDS = 60  # without any actor, until it is said
HIRED_EARLY = 2  # actors that start while the model is loaded here, be there parts for them or not


@dataclass(frozen=True)
class _Place:
    """What an actor gets of its node."""

    device: str
    cores: int
    count: int = 1  # for which there is room now

    @property
    def needs(self) -> dict[str, int]:
        return {"num_cpus": self.cores, "num_gpus": int(self.device == "cuda")}

    def __str__(self) -> str:
        return "GPU" if self.device == "cuda" else f"{self.cores} core(s)"


def classify(dataset: Dataset, **options: Any) -> Dataset:
    """Classify the images of a data set of Ray Data, lazily.

    An autoscaling pool of actors holds the model: one for each GPU of the cluster, or else one for
    every few cores (``workers`` says how many). Where a single actor would have all cores, what
    reads gets one of them.

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
    OptionError
        The cluster has no such device.
    """
    import ray.data

    if not ray.is_initialized():
        ray.init()
    given = {each.name: options.get(each.name, each.default) for each in fields(EngineOptions)}
    place = _choose_place(EngineOptions(**given))
    needs: dict[str, float] = {**place.needs}
    if place.count == 1:  # what reads and writes needs a core as well
        needs["num_cpus"] = place.cores - 1 or 0.5
    options |= {"device": place.device, "workers": place.cores}
    return dataset.map_batches(
        _Partitions,
        fn_constructor_args=(options,),
        batch_format="pandas",
        batch_size=PART_ROWS[place.device],
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=None),
        **needs,
    )


class _Partitions:
    """An actor that classifies batches."""

    def __init__(self, options: dict[str, Any]) -> None:
        keep_freed_memory()
        self._options = options

    def __call__(self, frame: Any) -> Any:
        return partition(frame, **self._options)


class _Maker:
    """An actor that makes parts; it has the libraries before it is told of the work."""

    def __init__(self, library: str) -> None:
        import_module(library)

    def start(self, worker: Worker) -> None:
        """Take what is needed, the model as well."""
        worker.start()
        self._worker = worker

    def make(self, part: Part) -> Done:
        """Make a part."""
        return self._worker.make(part)


@dataclass
class ClusterRun(Run):
    """A run on a cluster made ready; `parts` carries it out, an actor for each place."""

    place: _Place = field(default_factory=lambda: _Place("cpu", 1))
    hired: list[Any] = field(default_factory=list)
    connects: bool = False

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
        """Do what is not done yet; what is told of each part that was made, as it is done."""
        import ray

        given, folder = self.options, Folder(self.options.target)
        there = folder.begin(self.describe(), resume=given.resume, overwrite=given.overwrite)
        engine = replace(self.pipeline.options, device=self.place.device, workers=self.place.cores)
        worker = Worker.of(self, folder, tell)
        worker.pipeline = replace(worker.pipeline, options=engine)
        most = sys.maxsize
        if given.survey:  # asked by all actors together as by one machine
            asked = given.connections or CONNECTIONS
            most = min(asked, self.place.count)
            light = replace(worker.inputs.options, connections=asked // most)
            worker.inputs = replace(worker.inputs, options=light)
        listed = cut_parts(self.inputs, folder, there, self.part_rows, self.passed_over)
        try:
            with closing(_make_all(listed, worker, self.place, self.hired[:most], most)) as made:
                for done in made:
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
        finally:
            if self.connects:  # where it ends with the program, it waits for the last messages
                ray.shutdown()


def _hire(place: _Place, backend: BackendName) -> Any:
    import ray

    library = "galmorph.inference.ready" if backend == "torch" else "onnxruntime"
    return ray.remote(**place.needs)(_Maker).remote(library)


def _make_all(
    listed: Iterator[Part], worker: Worker, place: _Place, hired: list[Any], most: int
) -> Generator[Done, None, None]:
    """Hand parts to actors that are free; a part whose actor died is made by another.

    Actors fill the cluster. While parts wait, as many again are asked for: one that can grow does.
    """
    import ray

    sent = ray.put(worker)
    waiting, idle, deaths = deque[Part](), list[Any](), Counter[str]()
    busy: dict[Any, tuple[Any, Part | None]] = {}  # by what is to come; without a part: it starts
    part: Part | None
    more = True
    try:
        while True:
            while idle and waiting:
                actor, part = idle.pop(), waiting.popleft()
                busy[actor.make.remote(part)] = actor, part
            at_work = sum(part is not None for _, part in busy.values())
            room = min(max(at_work, place.count - at_work), most - at_work)
            while len(busy) - at_work < min(len(waiting), room):
                actor = hired.pop() if hired else _hire(place, worker.pipeline.model.backend)
                busy[actor.start.remote(sent)] = actor, None
            if listing := more and len(waiting) < max(at_work, place.count):
                waiting.extend(found := list(islice(listed, 1)))
                more = bool(found)
            elif not (at_work or waiting):
                return
            patience = 0 if listing else QUIET_SECONDS if at_work == 0 else None
            ready = ray.wait(list(busy), timeout=patience)[0] if busy else ()
            if patience and not ready:
                said = f"no actor has started in {QUIET_SECONDS} s, and the run waits for one"
                said += f"; perhaps no node of the cluster has {place} free"
                warnings.warn(said, GalmorphWarning, stacklevel=2)
            for ref in ready:
                actor, part = busy.pop(ref)
                name = part.name if part else ""
                try:
                    done = ray.get(ref)
                except ray.exceptions.RayTaskError:
                    raise
                except ray.exceptions.RayError:  # its process or its node is gone
                    deaths[name] += 1
                    if deaths[name] == MOST_DEATHS:
                        raise
                    waiting.extendleft([part] if part else [])
                    continue
                del deaths[name]
                idle.append(actor)
                if part:
                    yield done
    finally:
        for actor in (*hired, *idle, *(actor for actor, _ in busy.values())):
            ray.kill(actor)


def open_cluster_run(options: RunOptions, *, command: str = "") -> ClusterRun:
    """As `open_run`, for ``--engine ray``; starts Ray, or connects to a cluster."""
    _check(options)
    ray = import_extra("ray", "ray", "for --engine ray", "ray[data]")
    if connects := not ray.is_initialized():
        _connect(ray, options.address)
    place = _choose_place(options)
    hired = [_hire(place, options.runs_with) for _ in range(min(place.count, HIRED_EARLY))]
    alone = replace(options, output="", resume=False, overwrite=False, device="cpu")
    run = open_run(alone, command=command)
    engine = replace(run.pipeline.options, precision=_choose_precision(ray, options, place))
    nodes = sum(node["Alive"] for node in ray.nodes())
    given = {each.name: getattr(run, each.name) for each in fields(Run)} | {
        "options": options,
        "pipeline": replace(run.pipeline, options=engine),
        "where": f"{nodes} node(s) of Ray, an actor for each {place}, {engine.precision}",
    }
    return ClusterRun(**given, place=place, hired=hired, connects=connects)


def _check(options: RunOptions) -> None:
    """Refuse what does not go together with parts."""
    if not options.file or Path(options.file).suffix.lower() in list_suffixes("embed"):
        raise OptionError("--engine ray writes Parquet parts into a folder: name one, as -o out/")
    if any(map(is_url, options.mosaic)):
        raise OptionError("--engine ray cuts from a --mosaic on a disk that all nodes see")
    paths = [options.file, *(options.images or ())]
    out, *given = (path if is_url(path) else os.path.realpath(path) for path in paths)
    if inside := [path for path in given if f"{out}/".startswith(f"{path.rstrip('/')}/")]:
        raise OptionError(f"{options.file} lies in {inside[0]}, which is searched: name another -o")


def _connect(ray: Any, address: str | None) -> None:
    """Start Ray here, or find the cluster at an address."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it says errors where there are none
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # a process for each core
    try:
        ray.init(
            address=address or "local",  # not what a cluster that died has left
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().partition("\n")[0]
        raise OptionError(f"--address {address}: there is no Ray cluster ({said})") from error


def _choose_place(options: EngineOptions | RunOptions) -> _Place:
    """GPUs where the cluster has some, unless the CPU is asked for."""
    import ray

    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(node["CPU"]) for node in there if "CPU" in node]
    gpus = [int(node.get("GPU", 0)) for node in there]
    wanted = options.device.partition(":")[0]
    if wanted not in ("auto", "cpu", "cuda") or (wanted == "cuda" and not any(gpus)):
        raise OptionError(f"--device {options.device}: the nodes of the cluster have none")
    if wanted != "cpu" and any(gpus):
        each = options.workers or max(1, sum(cores) // sum(gpus))
        return _Place("cuda", each, sum(gpus))
    each = options.workers or math.gcd(MOST_CORES * bool(cores) or 1, *cores)
    return _Place("cpu", each, max(1, sum(count // each for count in cores)))


def _choose_precision(ray: Any, options: RunOptions, place: _Place) -> str:
    """The same on all nodes: that of this one, or of a GPU."""
    given = {"device": place.device, "precision": options.precision}
    if place.device == "cpu":
        return check_backend(options.runs_with, **given)[1]
    asked = ray.remote(**place.needs)(check_backend).remote(options.runs_with, **given)
    return str(ray.get(asked)[1])
