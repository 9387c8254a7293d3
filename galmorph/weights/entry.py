"""One released model, as the manifest describes it: frozen, and checked when it is made."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from galmorph.errors import ManifestError, UnknownHeadError

__all__ = ["ExpectedInput", "FieldOfView", "Golden", "Head", "ManifestEntry", "Metric"]

KINDS = ("galmorph", "timm")
FORMATS = ("safetensors", "pytorch")
FIELD_UNITS = ("fraction", "arcsec", "petrosian_radius")
INTERPOLATIONS = ("bilinear", "bicubic")

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILENAME = re.compile(r"[\w.-]+(/[\w.-]+)*")


class FieldError(ValueError):
    """A field of an entry is wrong; `galmorph.errors.ManifestError` then adds whose it is."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


def _require(condition: bool, name: str, problem: str) -> None:
    if not condition:
        raise FieldError(name, problem)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _check_text(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        _require(isinstance(value, str) and bool(value.strip()), name, "must be a text")


def _check_one_of(owner: object, name: str, allowed: tuple[str, ...]) -> None:
    value = getattr(owner, name)
    _require(value in allowed, name, f"{value!r} is not one of {', '.join(allowed)}")


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """How much of the sky the encoder was trained to see.

    Parameters
    ----------
    value : float
        Full width of the square field, above zero.
    unit : {"fraction", "arcsec", "petrosian_radius"}
        ``fraction`` is of the width of the survey's own cutouts, for surveys that scale each cutout
        to its galaxy.
    """

    value: float
    unit: str

    def __post_init__(self) -> None:
        _require(_is_number(self.value) and self.value > 0, "value", "must be a number above 0")
        _check_one_of(self, "unit", FIELD_UNITS)


@dataclass(frozen=True, slots=True)
class ExpectedInput:
    """What the encoder expects of its tensor; the weights file carries the same in full.

    Parameters
    ----------
    bands : tuple of str
        In the order of the channels, as in ``("red", "green", "blue")``.
    field_of_view : FieldOfView
    img_size : int
        Pixels on each side.
    interpolation : {"bilinear", "bicubic"}
    stretch : str
        A name of `galmorph.preprocessing`, ``"rendered"`` for images that are rendered already.
    mean, std : tuple of float
        Per channel, on [0, 1]; zeros and ones where nothing is subtracted or divided.
    """

    bands: tuple[str, ...]
    field_of_view: FieldOfView
    img_size: int
    interpolation: str
    stretch: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        _require(self.field_of_view is not None, "field_of_view", "must be an object")
        texts = all(isinstance(band, str) and band for band in self.bands)
        _require(len(self.bands) > 0 and texts, "bands", "must be a list of texts")
        _require(_is_count(self.img_size), "img_size", "must be a whole number above 0")
        _check_one_of(self, "interpolation", INTERPOLATIONS)
        _check_text(self, "stretch")
        for name, lowest in (("mean", -math.inf), ("std", 0.0)):
            values = getattr(self, name)
            good = len(values) == len(self.bands) and all(map(_is_number, values))
            _require(good, name, f"must hold {len(self.bands)} numbers, one per band")
            _require(all(v > lowest for v in values), name, f"must be above {lowest}")


@dataclass(frozen=True, slots=True)
class Head:
    """One head that the weights file carries.

    Parameters
    ----------
    name : str
        As in ``galmorph classify --head NAME``.
    class_names : tuple of str
        In the order of the logits; at least two, each once.
    training_data : str
        What the head was fitted to.
    input : ExpectedInput, optional
        Where this head expects another input than the entry.
    """

    name: str
    class_names: tuple[str, ...]
    training_data: str
    input: ExpectedInput | None = None

    def __post_init__(self) -> None:
        _check_text(self, "name", "training_data")
        names = self.class_names
        good = len(names) >= 2 and all(isinstance(n, str) and n for n in names)
        _require(good and len(set(names)) == len(names), "class_names", "must be 2 or more names")


@dataclass(frozen=True, slots=True)
class Metric:
    """One published figure, with the protocol that it was measured by.

    Parameters
    ----------
    name : str
        As in ``"accuracy"``.
    value : float
    data, protocol : str
        What it was measured on, and how.
    interval : tuple of float, optional
        95 % interval: low, high.
    """

    name: str
    value: float
    data: str
    protocol: str
    interval: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_text(self, "name", "data", "protocol")
        _require(_is_number(self.value), "value", "must be a number")
        if self.interval is not None:
            pair = len(self.interval) == 2 and all(map(_is_number, self.interval))
            inside = pair and self.interval[0] <= self.value <= self.interval[1]
            _require(inside, "interval", "must be low and high with the value between them")


@dataclass(frozen=True, slots=True)
class Golden:
    """Values that the model gives for a stated input, so that a test can hold it to them.

    The input is ``np.random.default_rng(seed).random((images, bands, size, size), dtype=float32)``,
    then normalized.

    Parameters
    ----------
    seed, images : int
    embedding : tuple of float
        The first values of the first image's embedding.
    atol : float
        Absolute tolerance in float32.
    """

    seed: int
    images: int
    embedding: tuple[float, ...]
    atol: float = 1e-4

    def __post_init__(self) -> None:
        _require(isinstance(self.seed, int) and self.seed >= 0, "seed", "must be a whole number")
        _require(_is_count(self.images), "images", "must be a whole number above 0")
        good = len(self.embedding) > 0 and all(map(_is_number, self.embedding))
        _require(good, "embedding", "must be a list of numbers")
        _require(_is_number(self.atol) and self.atol > 0, "atol", "must be a number above 0")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One released model: where its weights are, what they are and what they expect.

    Parameters
    ----------
    name : str
        As in ``galmorph classify --model NAME``: lower case, digits, ``_ . -``.
    kind : {"galmorph", "timm"}
        A galmorph weights file, or an encoder in timm's layout that others publish.
    architecture : str
        Name in the registry of encoders, or timm's name.
    description, licence, training_data, recipe : str
    paper : str or None
        Reference or address.
    repo_id, revision : str or None
        Repository on the Hub and its commit (40 hex digits). `repo_id` None: not published, the
        weights come with the package only.
    filename : str
        The file in the repository.
    format : {"safetensors", "pytorch"}
        ``pytorch`` is for timm encoders of others that are published as a pickle only; galmorph
        reads it with ``weights_only`` and keeps a safetensors copy.
    sha256 : str or None
    size : int or None
        Bytes.
    pinned : bool
        Whether both the revision (where there is a repository) and the sha256 are known.
    bundled : str or None
        File name in ``galmorph/weights/bundled``.
    input : ExpectedInput
    embedding_width : int
    heads : tuple of Head
    metrics : tuple of Metric
    golden : Golden or None

    Raises
    ------
    ManifestError
        A field is missing its rule; the message names the entry and the field.
    """

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
    heads: tuple[Head, ...] = field(default=())
    metrics: tuple[Metric, ...] = field(default=())
    golden: Golden | None = None

    def __post_init__(self) -> None:
        try:
            self._check_texts()
            self._check_hub()
            self._check_file()
            self._check_pinned()
        except FieldError as error:
            raise ManifestError(f"manifest entry {self.name!r}, {error}") from None

    def _check_texts(self) -> None:
        _require(_matches(_NAME, self.name), "name", "must be lower case letters, digits, _ . -")
        _check_one_of(self, "kind", KINDS)
        _check_text(self, "architecture", "description", "licence", "training_data", "recipe")
        _require(self.input is not None, "input", "must be an object")
        if self.paper is not None:
            _check_text(self, "paper")
        _require(_is_count(self.embedding_width), "embedding_width", "must be above 0")
        heads = [head.name for head in self.heads]
        _require(len(set(heads)) == len(heads), "heads", "two heads have the same name")

    def _check_hub(self) -> None:
        if self.repo_id is None:
            _require(self.bundled is not None, "repo_id", "is null, and so is bundled")
            _require(self.revision is None, "revision", "needs a repo_id")
            return
        _require(_matches(_REPO_ID, self.repo_id), "repo_id", "must be ORG/NAME")
        if self.revision is not None:
            _require(_matches(_REVISION, self.revision), "revision", "must be 40 hex digits")

    def _check_file(self) -> None:
        _check_one_of(self, "format", FORMATS)
        clean = _matches(_FILENAME, self.filename) and ".." not in self.filename.split("/")
        _require(clean, "filename", "must be a path inside the repository")
        safe = self.filename.endswith(".safetensors")
        _require(safe == (self.format == "safetensors"), "filename", "does not fit the format")
        _require(safe or self.kind == "timm", "format", "must be safetensors for galmorph weights")
        if self.bundled is not None:
            plain = _matches(_FILENAME, self.bundled) and "/" not in self.bundled
            good = plain and self.bundled.endswith(".safetensors")
            _require(good, "bundled", "must be the plain name of a .safetensors file")

    def _check_pinned(self) -> None:
        if self.sha256 is not None:
            _require(_matches(_SHA256, self.sha256), "sha256", "must be 64 lower-case hex digits")
        if self.size is not None:
            _require(_is_count(self.size), "size", "must be a whole number of bytes above 0")
        known = self.sha256 is not None and (self.repo_id is None or self.revision is not None)
        _require(self.pinned is known, "pinned", f"must be {str(known).lower()} here")
        if self.kind == "galmorph":
            _require(self.sha256 is not None, "sha256", "is needed for galmorph weights")
            _require(self.size is not None, "size", "is needed for galmorph weights")
            _require(self.pinned, "revision", "is needed for galmorph weights on the Hub")

    @property
    def local_name(self) -> str:
        """File name outside of the Hub cache: the entry's name with ``.safetensors``."""
        return f"{self.name}.safetensors"

    def get_head(self, name: str) -> Head:
        """Return the head of that name.

        Raises
        ------
        UnknownHeadError
            With the names that there are.
        """
        for head in self.heads:
            if head.name == name:
                return head
        names = ", ".join(head.name for head in self.heads) or "none"
        raise UnknownHeadError(f"{self.name} has no head {name!r}; it has: {names}")
