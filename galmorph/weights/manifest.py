"""The manifest of released models: its rules are in ``galmorph/schema.json``."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from galmorph.errors import ManifestError, UnknownModelError
from galmorph.schema import find_problem, parse_json

MANIFEST_NAME = "weights_manifest.json"
_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """Full width of the square field of view, as a fraction of the survey's own cutouts or else."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class ExpectedInput:
    """What the encoder expects of its tensor; mean and std are per channel, on [0, 1]."""

    bands: tuple[str, ...]
    field_of_view: FieldOfView
    img_size: int
    interpolation: str
    stretch: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """One head that the weights file carries, with its input where that is another."""

    name: str
    class_names: tuple[str, ...]
    training_data: str
    input: ExpectedInput | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """One published figure: on which data, by which protocol, with its 95 % interval."""

    name: str
    value: float
    data: str
    protocol: str
    interval: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """First values of the first embedding of ``default_rng(seed).random(shape, float32)``."""

    seed: int
    images: int
    embedding: tuple[float, ...]
    atol: float = 1e-4


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One released model: where its weights are, what they are and what they expect."""

    name: str
    kind: str
    architecture: str
    description: str
    licence: str
    filename: str
    pinned: bool
    input: ExpectedInput
    embedding_width: int
    training_data: str
    recipe: str
    repo_id: str | None = None
    revision: str | None = None
    format: str = "safetensors"
    sha256: str | None = None
    size: int | None = None
    bundled: str | None = None
    paper: str | None = None
    heads: tuple[Head, ...] = ()
    metrics: tuple[Metric, ...] = ()
    golden: Golden | None = None

    @property
    def suffix(self) -> str:
        """Ending of a file of its format."""
        return ".bin" if self.format == "pytorch" else ".safetensors"

    @property
    def local_name(self) -> str:
        """File name outside of the Hub cache: the entry's name and its format's ending."""
        return self.name + self.suffix


_PARTS: dict[str, type[Any]] = {
    "input": ExpectedInput,
    "field_of_view": FieldOfView,
    "golden": Golden,
    "heads": Head,
    "metrics": Metric,
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """All released models, by unique names, and the one that is used where none is named."""

    models: tuple[ManifestEntry, ...]
    default_model: str | None = None

    def __post_init__(self) -> None:
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise ManifestError(f"manifest entry {name!r}, name: is there more than once")
        if self.default_model is not None and self.default_model not in names:
            raise ManifestError(
                f"default_model: {self.default_model[:40]!r} is not among the models"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models, in the manifest's order."""
        return tuple(entry.name for entry in self.models)

    def get(self, name: str) -> ManifestEntry:
        """The entry of that name, or of that repository as ``hf_hub:ORG/NAME``."""
        repo_id = name.removeprefix("hf_hub:").removeprefix("hf-hub:")
        for entry in self.models:
            if entry.name == name or (repo_id != name and entry.repo_id == repo_id):
                return entry
        raise UnknownModelError(
            f"no model {name!r}; known: {', '.join(self.names) or 'none'}. "
            "A path of your own must end in .safetensors"
        )

    def find_model(self, head: Any) -> str | None:
        """The default model, or where it has no head of that name the first that has one."""
        having = [e.name for e in self.models if head in [each.name for each in e.heads]]
        return having[0] if having and self.default_model not in having else self.default_model


def manifest_path() -> Path:
    """Where the manifest is: in the package, or in the checkout of an editable install."""
    for folder in (_PACKAGE, _CHECKOUT):
        if (folder / MANIFEST_NAME).is_file():
            return folder / MANIFEST_NAME
    raise ManifestError(
        f"{MANIFEST_NAME} is neither in {_PACKAGE} nor in {_CHECKOUT}: install galmorph again"
    )


def load_manifest(path: str | os.PathLike[str] | None = None) -> Manifest:
    """Read and check a manifest, by default the package's; errors name file, entry and field."""
    chosen = Path(path) if path is not None else manifest_path()
    stamp = chosen.stat().st_mtime_ns if chosen.is_file() else 0
    return _load(chosen, stamp)


@lru_cache(maxsize=8)
def _load(path: Path, stamp: int) -> Manifest:
    """Read once as long as the file is unchanged (`stamp` is its time of change)."""
    try:
        return manifest_from_dict(parse_json(path.read_bytes()))
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from None
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from None
    except ValueError as error:
        raise ManifestError(f"{path}: is not JSON ({error})") from None


def manifest_from_dict(data: Any) -> Manifest:
    """The shell first, then each entry under its own name."""
    entries = data.get("models") if isinstance(data, dict) else None
    shell = {**data, "models": []} if isinstance(entries, list) else data
    if problem := find_problem(shell, "manifest"):
        raise ManifestError(problem)
    models = tuple(entry_from_dict(item) for item in data["models"])
    return Manifest(models, data.get("default_model"))


def entry_from_dict(data: Mapping[str, Any]) -> ManifestEntry:
    """Make an entry of plain JSON values; an error names the entry and the field."""
    if problem := find_problem(data, "entry"):
        name = str(data.get("name"))[:40] if isinstance(data, Mapping) else "?"
        raise ManifestError(f"manifest entry {name!r}, {problem}")
    return ManifestEntry(**{key: _build(key, value) for key, value in data.items()})


def _build(key: str, value: Any) -> Any:
    """JSON value -> field: objects become their dataclass, lists become tuples."""
    if isinstance(value, list):
        return tuple(_build(key, item) for item in value)
    if isinstance(value, dict):
        return _PARTS[key](**{name: _build(name, part) for name, part in value.items()})
    return value


def entry_to_dict(entry: ManifestEntry) -> dict[str, Any]:
    """Plain JSON values of an entry: the inverse of `entry_from_dict`."""
    return dict(json.loads(json.dumps(dataclasses.asdict(entry))))
