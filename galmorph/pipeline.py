"""The stages joined: sources in, blocks of results out, by one model with all settings."""

import dataclasses
import os
import platform
import threading
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from galmorph.errors import GalmorphWarning, OptionError, UnknownHeadError, UnknownModelError
from galmorph.heads import Head
from galmorph.images.source import Source
from galmorph.inference.backends import check_backend, list_versions
from galmorph.inference.engine import Block, run_inference
from galmorph.model import Model, compute_signature, read_heads, read_model
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.remote import fetch, is_url, to_path
from galmorph.settings import (
    BackendName,
    ClassifyOptions,
    EngineOptions,
    FieldOptions,
    ReadOptions,
    RenderOptions,
    RunOptions,
)
from galmorph.weights.locate import WeightsFile, locate_weights
from galmorph.weights.manifest import ManifestEntry, load_manifest

ROUNDING = 0.02  # between signatures of the same weights, of float16 or another backend
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
        A name of `list_models`, ``hf_hub:ORG/NAME`` for a timm encoder of the Hub, or the path or
        URL of a safetensors file or of an ONNX file of ``galmorph export``. By default the
        manifest's default model, which comes with galmorph.
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
    if is_url(wanted):
        with fetch(to_path(str(wanted))).naming() as path:
            return load_model(path, backend=backend)
    if str(wanted).endswith(".onnx"):
        return read_model(os.fspath(wanted))
    file = locate_weights(wanted)
    with _load_lock:
        return _load_file(file, backend)


@lru_cache(maxsize=4)
def _load_file(file: WeightsFile, backend: BackendName) -> Model:
    timm = file.entry if file.entry is not None and file.entry.kind == "timm" else None
    if timm is None:
        model = read_model(file.path, backend=backend, sha256=file.sha256)
    elif backend == "torch":
        model = _read_timm(file.path, timm, file.sha256)
    else:
        raise UnknownModelError(f"{timm.name} is a timm encoder, which needs --backend torch")
    found = {"sha256": file.sha256, "revision": file.revision or "", "file": file.path.name}
    return replace(model, provenance={**model.provenance, **found})


def _read_timm(path: Path, entry: ManifestEntry, sha256: str | None = None) -> Model:
    """A timm encoder as a model without heads, with the input that it was trained on."""
    from galmorph.encoders.timm_adapter import load_timm_encoder

    expected = entry.input
    fraction = expected.field_of_view.unit == "fraction"
    values = {
        "img_size": expected.img_size,
        "crop": expected.field_of_view.value if fraction else 1.0,
        "mean": expected.mean,
        "std": expected.std,
        "interpolation": "bicubic" if expected.interpolation == "bicubic" else "bilinear",
    }
    encoder = load_timm_encoder(path, entry.architecture, img_size=expected.img_size, sha256=sha256)
    return Model(entry.name, entry.architecture, encoder, Preprocessing.from_dict(values))


def find_head(model: Model, name: str | os.PathLike[str] | Head) -> Head:
    """A head of the model by name, or one of your own by path or URL, which fits its encoder."""
    if isinstance(name, Head):
        return name
    if is_url(name):
        with fetch(to_path(str(name))).naming() as path:
            return find_head(model, path)
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
class Pipeline:
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

    def run(self, sources: Iterator[Source]) -> Generator[Block, None, None]:
        """Embed the sources, block by block; those elsewhere are brought before (`bring_ahead`)."""
        return run_inference(
            self.model,
            sources,
            read=self.read,
            field=self.field_of_view,
            rendering=self.rendering,
            options=self.options,
        )

    def describe(self) -> dict[str, Any]:
        """Provenance of the result: all that it depends on besides the pixels."""
        model, head, options = self.model, self.head, self.options
        device, precision = check_backend(
            model.backend, device=options.device, precision=options.precision
        )
        own = {k: v for k, v in model.provenance.items() if isinstance(v, str | int | float | bool)}
        return {
            "galmorph": _find_version(),
            "model": model.name,
            "architecture": model.architecture,
            **{f"model_{key}": value for key, value in own.items()},
            "head": head.name if head else "",
            **(head.describe() if head else {}),
            "head_sha256": head.compute_sha256() if head else "",
            "preprocessing": model.preprocessing.to_dict(),
            "field": asdict(self.field_of_view),
            "rendering": asdict(self.rendering),
            "precision": precision,
            "device": device,
            "backend": model.backend,
            **list_versions(model.backend),
            "numpy": np.__version__,
            "python": platform.python_version(),
            "reading": {k: v for k, v in asdict(self.read).items() if v is not None},
        }


def _find_version() -> str:
    """Version of galmorph as installed."""
    try:
        return version("galmorph")
    except PackageNotFoundError:
        return "unknown"


def open_pipeline(options: RunOptions) -> Pipeline:
    """Load the model and the head that the options name, with all settings."""
    model, engine = options.model, EngineOptions(**options.pick(EngineOptions))
    head = options.head if isinstance(options, ClassifyOptions) else None
    if not isinstance(model, Model):
        try:
            check_backend(options.runs_with, device=engine.device, precision=engine.precision)
        except ValueError as error:
            raise OptionError(str(error)) from error
        wanted = model if model is not None else load_manifest().find_model(head)
        model = load_model(wanted, backend=options.runs_with)
    found = find_head(model, head) if head is not None else None
    if found is not None and isinstance(options, ClassifyOptions) and options.coverage is not None:
        _check_calibrated(found)
    return Pipeline(model, found, options.read, options.field, options.rendering, engine)


def _check_calibrated(head: Head) -> None:
    if head.find_sets(np.zeros((1, head.num_features), np.float32), 0.5) is None:
        raise OptionError(
            f"--coverage: the head {head.name!r} holds no calibration; heads of classes have one, "
            "once `galmorph fit` has made them anew"
        )
