"""One released model, as the manifest describes it; the rules are in ``galmorph/schema.json``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExpectedInput", "FieldOfView", "Golden", "Head", "ManifestEntry", "Metric"]


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
    """The first values of the first embedding that the model gives for a stated input.

    The input is ``np.random.default_rng(seed).random((images, bands, size, size), dtype=float32)``,
    then normalized; `atol` is the absolute tolerance in float32.
    """

    seed: int
    images: int
    embedding: tuple[float, ...]
    atol: float = 1e-4


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One released model: where its weights are, what they are and what they expect.

    `repo_id` is None where the model is not published and comes with the package only. The format
    ``pytorch`` is for timm encoders of others that are published as a pickle only; galmorph reads
    it with ``weights_only`` and keeps a safetensors copy. `size` is in bytes, `bundled` a file in
    ``galmorph/weights/bundled``.
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
    heads: tuple[Head, ...] = ()
    metrics: tuple[Metric, ...] = ()
    golden: Golden | None = None

    @property
    def local_name(self) -> str:
        """File name outside of the Hub cache: the entry's name with ``.safetensors``."""
        return f"{self.name}.safetensors"
