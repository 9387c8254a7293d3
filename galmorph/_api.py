"""The functions that a pipeline calls: everything below is joined here."""

from __future__ import annotations

import dataclasses
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from galmorph.errors import ChecksumError, GalmorphWarning, UnknownHeadError, UnknownModelError
from galmorph.heads import Head
from galmorph.images.inputs import to_sources
from galmorph.images.options import ReadOptions
from galmorph.images.source import Source
from galmorph.inference.backends import check_backend
from galmorph.inference.engine import Block, EngineOptions, run_inference
from galmorph.inference.results import ResultPlan, concatenate, describe_run
from galmorph.model import BackendName, Model, compute_signature, read_heads, read_model
from galmorph.preprocessing.pipeline import FieldOptions, Preprocessing
from galmorph.preprocessing.render import RenderOptions
from galmorph.quantities import strip_units
from galmorph.tables.build import build_table
from galmorph.weights.entry import ManifestEntry
from galmorph.weights.locate import WeightsFile, locate_weights
from galmorph.weights.manifest import load_manifest

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Job", "classify", "embed", "find_head", "list_models", "load_model"]

DEFAULT_HEAD = "gz2"

ROUNDING = 0.02
"""Between signatures of the same weights: float16 storage and another backend change less."""
OnError = Literal["raise", "flag"]

_load_lock = threading.Lock()


def list_models() -> list[str]:
    """Names of the models in the manifest.

    Returns
    -------
    list of str
        What `load_model` takes, the default first.
    """
    manifest = load_manifest()
    return sorted(manifest.names, key=lambda name: (name != manifest.default_model, name))


def load_model(
    name: str | os.PathLike[str] | None = None, *, backend: BackendName = "torch"
) -> Model:
    """Load a model once, for repeated use.

    Parameters
    ----------
    name : str or path, optional
        A name of `list_models`, ``hf_hub:ORG/NAME`` for a timm encoder of the Hub, or the path of a
        safetensors file or of an ONNX file of ``galmorph export``. By default the manifest's
        default model, which comes with galmorph.
    backend : {"torch", "onnx"}
        What computes the embeddings. "onnx" is onnxruntime on the CPU (extra ``onnx``), for
        galmorph's own encoders: torch is not imported.

    Returns
    -------
    Model
        ``model.encoder`` is a torch module: normalized (n, 3, 84, 84) in, (n, 512) out; with
        "onnx", an `galmorph.encoders.onnx_encoder.OnnxEncoder`.

    Raises
    ------
    UnknownModelError
        No model of that name.
    WeightsError
        Its weights cannot be had or are not the published ones.
    """
    wanted = name if name is not None else load_manifest().default_model
    if wanted is None:
        raise UnknownModelError("the manifest names no default model; give one by name or path")
    if backend not in ("torch", "onnx"):
        raise ValueError(f"backend is 'torch' or 'onnx', not {backend!r}")
    if str(wanted).endswith(".onnx"):
        return read_model(os.fspath(wanted))
    file = locate_weights(wanted)
    with _load_lock:
        return _load_file(file.path, file.sha256, file.revision, _timm_entry(file), backend)


def _timm_entry(file: WeightsFile) -> ManifestEntry | None:
    return file.entry if file.entry is not None and file.entry.kind == "timm" else None


@lru_cache(maxsize=4)
def _load_file(
    path: Path,
    sha256: str,
    revision: str | None,
    timm: ManifestEntry | None,
    backend: BackendName,
) -> Model:
    if timm is None:
        model = read_model(path, backend=backend)
    elif backend == "torch":
        model = _read_timm(path, timm)
    else:
        raise UnknownModelError(f"{timm.name} is a timm encoder, which needs --backend torch")
    found = {"sha256": sha256, "revision": revision or "", "file": path.name}
    if model.provenance.get("sha256", sha256) != sha256:
        raise ChecksumError(f"{path}: was replaced while it was read: try again")
    return replace(model, provenance={**model.provenance, **found})


def _read_timm(path: Path, entry: ManifestEntry) -> Model:
    """A timm encoder as a model without heads, with the input that it was trained on."""
    from galmorph.encoders.timm_adapter import load_timm_encoder

    expected = entry.input
    fraction = expected.field_of_view.unit == "fraction"
    preprocessing = Preprocessing(
        img_size=expected.img_size,
        crop=expected.field_of_view.value if fraction else 1.0,
        mean=_triple(expected.mean),
        std=_triple(expected.std),
    )
    encoder = load_timm_encoder(path, entry.architecture, img_size=expected.img_size)
    return Model(entry.name, entry.architecture, encoder, preprocessing)


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def find_head(model: Model, name: str | os.PathLike[str]) -> Head:
    """A head of the model by name, or one of your own by path.

    Parameters
    ----------
    model : Model
    name : str or path
        As in ``model.heads``, or a file that ``galmorph fit`` wrote, ending in ``.safetensors``.

    Raises
    ------
    UnknownHeadError
        The model has no such head, the file's head was fitted on another encoder, or the file is
        a whole model.
    CheckpointError
        The file cannot be read.
    """
    if not str(name).endswith(".safetensors"):
        return model.get_head(str(name))
    file = read_heads(str(name))
    head = next(iter(file.heads.values()))
    width = model.num_features
    way_out = f"give the model {file.model!r} with --model, by name or as a file"
    if head.num_features != width:
        raise UnknownHeadError(
            f"{name}: takes embeddings of {head.num_features} numbers, but model "
            f"{model.name!r} gives {width}; {way_out}"
        )
    if file.model and file.model != model.name:
        raise UnknownHeadError(
            f"{name}: was fitted on the embeddings of {file.model!r}, which are not those of "
            f"{model.name!r}; {way_out}"
        )
    if file.signature and not _is_like(compute_signature(model), file.signature):
        raise UnknownHeadError(
            f"{name}: was fitted on other weights than those of this model, although both are "
            f"called {model.name!r}; {way_out}, or fit the head again"
        )
    return head


def _is_like(own: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two signatures differ by no more than rounding in storage and arithmetic."""
    own_values, values = np.array(own), np.array(other)
    return bool(np.linalg.norm(own_values - values) <= ROUNDING * np.linalg.norm(values))


@dataclass(frozen=True)
class Job:
    """A model with all settings of a run: what `embed`, `classify` and the commands share."""

    model: Model
    head: Head | None = None
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)
    field: FieldOptions = dataclasses.field(default_factory=FieldOptions)
    rendering: RenderOptions = dataclasses.field(default_factory=RenderOptions)
    options: EngineOptions = dataclasses.field(default_factory=EngineOptions)

    def __post_init__(self) -> None:
        for difference in self._list_differences():
            warnings.warn(difference, GalmorphWarning, stacklevel=3)

    def _list_differences(self) -> Iterator[str]:
        """Settings of the pixels that the head was fitted with, where those of this run differ."""
        if self.head is None:
            return
        fitted = self.head.notes.get("pixels")
        stretch = fitted.get("stretch", "auto") if isinstance(fitted, Mapping) else "auto"
        said = f"the head {self.head.name!r} was fitted with"
        if stretch not in ("auto", self.rendering.stretch):
            now = self.rendering.stretch
            yield f"{said} the stretch {stretch!r}, and the stretch of this run is {now!r}"
        fov = self.head.notes.get("fov")
        if fov is not None and self.field.crop is None and self.field.fov != fov:
            now = "a part of the frame" if self.field.fov is None else f"{self.field.fov} arcsec"
            yield f"{said} a field of view of {fov} arcsec (--fov), and this run looks at {now}"

    @property
    def field_of_view(self) -> FieldOptions:
        """The field asked for, or else the one that the head was trained on."""
        asked = self.field.crop is not None or self.field.fov is not None
        if asked or self.head is None or self.head.crop is None:
            return self.field
        return FieldOptions(crop=self.head.crop)

    def run(self, sources: Iterator[Source]) -> Iterator[Block]:
        """Embed the sources, block by block."""
        return run_inference(
            self.model,
            sources,
            read=self.read,
            field=self.field_of_view,
            rendering=self.rendering,
            options=self.options,
        )

    def describe(self) -> dict[str, Any]:
        """Provenance of the result."""
        read = {k: v for k, v in dataclasses.asdict(self.read).items() if v is not None}
        device, precision = check_backend(
            self.model.backend, device=self.options.device, precision=self.options.precision
        )
        described = describe_run(
            self.model,
            self.head,
            field=self.field_of_view,
            rendering=self.rendering,
            options=self.options,
            precision=precision,
            device=device,
        )
        return {**described, "reading": read}


def _raise_first(block: Block) -> None:
    for row in block.rows:
        if row.error is not None:
            raise row.error


def _iterate(
    job: Job, images: Any, on_error: OnError, progress: bool | Callable[[int], None]
) -> Iterator[Block]:
    if on_error not in ("raise", "flag"):
        raise ValueError(f"on_error is 'raise' or 'flag', not {on_error!r}")
    done, report = 0, _make_reporter(progress)
    for block in job.run(to_sources(images)):
        if on_error == "raise":
            _raise_first(block)
        done += len(block.rows)
        if report is not None:
            report(done)
        yield block


def _make_reporter(progress: bool | Callable[[int], None]) -> Callable[[int], None] | None:
    if callable(progress):
        return progress
    if not progress:
        return None
    import sys

    def report(done: int) -> None:
        sys.stderr.write(f"\rgalmorph: {done} cutouts")
        sys.stderr.flush()

    return report


def _make_job(model: str | os.PathLike[str] | Model | None, **settings: Any) -> Job:
    """Sort keyword options into the settings of the stages."""
    settings = strip_units(settings)
    head = settings.pop("head", None)
    loaded = model if isinstance(model, Model) else load_model(model)
    names = {
        "read": (ReadOptions, ("hdu", "bands", "max_pixels", "center", "pixel_scale")),
        "field": (FieldOptions, ("crop", "fov")),
        "rendering": (RenderOptions, ("stretch", "nan", "nan_fraction", "zeropoint")),
        "options": (EngineOptions, ("device", "batch_size", "workers", "precision")),
    }
    # The reader cuts that field out of a larger image, so that all of it is looked at.
    cuts_out = settings.get("center") is not None and settings.get("fov") is not None
    region = {"fov": settings.pop("fov")} if cuts_out else {}
    stages: dict[str, Any] = {}
    for stage, (kind, keys) in names.items():
        given = {k: settings.pop(k) for k in keys if k in settings}
        stages[stage] = kind(**given)
    if settings:
        known = sorted(k for _, keys in names.values() for k in keys)
        raise TypeError(f"unknown options {sorted(settings)}; there are {', '.join(known)}")
    if cuts_out:
        stages["read"] = replace(stages["read"], **region)
        stages["field"] = FieldOptions(crop=stages["field"].crop or 1.0)
    return Job(loaded, find_head(loaded, head) if head is not None else None, **stages)


def embed(
    images: Any,
    *,
    model: str | os.PathLike[str] | Model | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    precision: str | None = None,
    progress: bool | Callable[[int], None] = False,
    on_error: OnError = "raise",
    **pixels: Any,
) -> npt.NDArray[np.float32]:
    """Embed cutouts.

    Parameters
    ----------
    images : object
        One or many of: path, glob, folder, bytes, file object, PIL image, array (y, x),
        (y, x, 3), (3, y, x) or (n, ...), torch tensor, `astropy.nddata` object, HDU or HDUList.
        A list of HDUs is many. An iterator is consumed lazily but ahead of the result: what it
        gave must stay as it is, and open.
    model : str, path or Model, optional
        Name, safetensors file, or what `load_model` gave; by default the bundled model.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    batch_size, workers : int, optional
        Cutouts encoded together; threads. Chosen by device where not given.
    precision : str, optional
        "float32", "bfloat16" or "float16"; by default bfloat16 where the device multiplies in it.
    progress : bool or callable
        Write the count to standard error, or call this with it.
    on_error : {"raise", "flag"}
        Raise the first error, or give a row of NaN for every cutout that cannot be embedded.
    **pixels
        ``crop``, ``fov``, ``stretch``, ``nan``, ``nan_fraction``, ``zeropoint``, ``hdu``,
        ``bands``, ``max_pixels``, ``pixel_scale``, ``center``; see the guide "How your pixels are
        treated". Angles may be astropy's quantities, and ``center`` a SkyCoord.

    Returns
    -------
    ndarray of float32, shape (n, num_features)
        One row per cutout, in order; 512 features for galmorph's own encoders.

    Raises
    ------
    ImageError, BandError, PixelError
        With ``on_error="raise"``: a cutout cannot be embedded.
    WeightsError
        The model's weights cannot be had.
    """
    job = _make_job(
        model,
        device=device,
        batch_size=batch_size,
        workers=workers,
        precision=precision,
        **pixels,
    )
    blocks = [block.embeddings for block in _iterate(job, images, on_error, progress)]
    empty = np.empty((0, job.model.num_features), dtype=np.float32)
    return np.concatenate(blocks) if blocks else empty


def classify(
    images: Any,
    *,
    head: str | os.PathLike[str] = DEFAULT_HEAD,
    model: str | os.PathLike[str] | Model | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    precision: str | None = None,
    progress: bool | Callable[[int], None] = False,
    on_error: OnError = "flag",
    **pixels: Any,
) -> Table:
    """Classify cutouts.

    Parameters
    ----------
    images : object
        As in `embed`.
    head : str or path
        "gz2", "sdss", "decals", "decals4", or a file that ``galmorph fit`` wrote.
    model, device, batch_size, workers, precision, progress, on_error, **pixels
        As in `embed`. By default a cutout that cannot be classified keeps its row, with flags and
        a message.

    Returns
    -------
    astropy.table.Table
        One row per cutout, in order: ``object_id``, ``path``, ``ra``, ``dec``, ``label``,
        ``confidence``, ``p_<class>``, ``atypicality``, ``fov``, ``crop``, ``treatment``,
        ``flags`` and ``message``; provenance in ``meta``.

    Raises
    ------
    UnknownHeadError
        The model has no such head.
    ImageError, BandError, PixelError
        With ``on_error="raise"``: a cutout cannot be classified.
    WeightsError
        The model's weights cannot be had.
    """
    job = _make_job(
        model,
        head=head,
        device=device,
        batch_size=batch_size,
        workers=workers,
        precision=precision,
        **pixels,
    )
    plan = ResultPlan(job.model, job.head)
    blocks = [plan.fill(block) for block in _iterate(job, images, on_error, progress)]
    columns = concatenate(blocks) or {spec.name: [] for spec in plan.specs}
    return build_table(plan.specs, columns, job.describe())
