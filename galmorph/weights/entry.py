"""One released model, as the manifest describes it; the rules are in ``galmorph/schema.json``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExpectedInput", "FieldOfView", "Golden", "Head", "ManifestEntry", "Metric"]


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


@dataclass(frozen=True, slots=True)
class Head:
    """One head that the weights file carries.

    Parameters
    ----------
    name : str
        As in ``galmorph classify --head NAME``.
    class_names : tuple of str
        In the order of the logits.
    training_data : str
        What the head was fitted to.
    input : ExpectedInput, optional
        Where this head expects another input than the entry.
    """

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
