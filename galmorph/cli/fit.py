"""``galmorph fit``: a linear head on frozen embeddings, from labels of your own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.labelled import Crops, Labels, WorkOptions, embed_set, embed_values, label_options
from galmorph.cli.options import GroupedCommand, options_of, overwrite_option, prepare_output
from galmorph.errors import OptionError, UnknownHeadError, WeightsError
from galmorph.settings import INSIDE, File, RunOptions, option

if TYPE_CHECKING:
    from galmorph.heads import Head, LinearHead
    from galmorph.model import Model
    from galmorph.pipeline import Pipeline
    from galmorph.training.heads import HeadFit
    from galmorph.training.labelled import LabelledSet
    from galmorph.training.values import Wanted


@dataclass(frozen=True, kw_only=True)
class FitOptions(WorkOptions):
    """What is fitted, and where it goes.

    output: Head to write, for `galmorph classify --head FILE`; ends in .safetensors.
    add_to: Write the head into this model file (of `galmorph pretrain`), and fit on that model.
    name: Name of the head [default: the output's stem].
    select_crop: Fields of view to choose from by cross-validation on DATA; `auto` may be among
        them.
    balanced: Give all classes the same weight, however rare they are.
    held_out: The encoder was trained with the labels of DATA, but for the fraction F of them
        (hold_out of its recipe): choose penalty and temperature by those alone.
    typicality: With --add-to: DATA are what the model takes for typical in the column atypicality;
        else the head alone does, where there are 400 cutouts or more.
    """

    output: str | None = option(None, File(), flag="-o --output")
    add_to: str | None = option(None, File(), metavar="MODEL")
    name: str | None = option(None)
    select_crop: tuple[Any, ...] | None = option(None, Crops())
    balanced: bool = option(False)
    held_out: float | None = option(None, INSIDE)
    typicality: bool = option(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.output) == bool(self.add_to):
            raise OptionError("Give -o FILE for a head of its own, or --add-to MODEL.")
        if not self.path.endswith(".safetensors"):
            raise OptionError(f"{self.path!r} must end in .safetensors.")
        if self.typicality and not self.add_to:
            raise OptionError("--typicality is kept in a model file: it needs --add-to MODEL.")
        if self.add_to and not self.name:
            raise OptionError("--add-to needs --name NAME, by which --head finds the head.")

    @property
    def path(self) -> str:
        """File that is written."""
        return self.output or self.add_to or ""

    @property
    def head_name(self) -> str:
        """Name of the head."""
        return self.name or Path(self.path).stem

    def prepare(self) -> None:
        """Refuse to write a head in place of a model."""
        whole = _is_whole_model(self.path)
        prepare_output(self.path, into=bool(self.add_to) or whole)
        if self.output and whole:
            raise OptionError(
                f"{self.path} is a whole model, and the head would replace it; write into it with "
                f"--add-to {self.path} --name NAME, or name another file with -o."
            )

    def write(self, head: Head, embedded: LabelledSet, model: Model) -> None:
        """Write the head, with what it takes for typical."""
        from galmorph.inference.cores import keep_numpy_on_one_core
        from galmorph.model import compute_signature, write_heads
        from galmorph.training.export import add_to_model
        from galmorph.typicality import ENOUGH_ROWS, fit_typicality

        typical = None
        if self.typicality or len(embedded.labels) >= ENOUGH_ROWS:
            with keep_numpy_on_one_core():  # the same for any number of cores
                typical = fit_typicality(embedded.embeddings, seed=self.seed)
        if not self.typicality:  # else it is the model's, for all that has none of its own
            head, typical = replace(head, typicality=typical), None
        heads = {self.head_name: head}
        if self.add_to:
            add_to_model(self.path, heads, typicality=typical)
        else:
            write_heads(self.path, heads, model=model.name, signature=compute_signature(model))


def _is_whole_model(path: str) -> bool:
    """Whether a file is there that holds a model of galmorph's, not heads alone."""
    from galmorph.model import read_heads

    try:
        read_heads(path)
    except UnknownHeadError:
        return True
    except WeightsError:  # nothing there, or no model
        pass
    return False


@click.command(cls=GroupedCommand)
@label_options
@options_of(FitOptions)
@overwrite_option
def fit(**given: Any) -> None:
    """Fit a linear head on embeddings of labelled cutouts.

    LABELS is a table (CSV, ECSV, FITS, VOTable, Parquet) with the columns object_id and label; or
    the word `folders`: the folder in which an image lies names its class. DATA are images, folders,
    globs, tar shards or stacks, as for `galmorph classify`: a folder stands for all images and
    shards in it, and not, as for `galmorph pretrain`, for its shards alone.

    The head is a multinomial logistic regression. Its penalty is chosen by cross-validation on DATA
    (10-fold, 5-fold from 2,000 cutouts on, or as many as the rarest class has cutouts), its
    temperature calibrated on the out-of-fold predictions. The accuracy that is printed is that of
    the cross-validation; for test data of your own use `galmorph evaluate`.

    With --votes or --numbers LABELS is a table with these columns in place of label. With
    --votes the head tells shares of answers, each with an interval, as `tree` does; with
    --numbers it tells numbers, each with its error, as `efigi` does.
    """
    from galmorph.pipeline import open_pipeline

    asked, labels = FitOptions.take(given), Labels.take(given)
    if asked.add_to and given["model"] is not None:
        raise OptionError("Give --model or --add-to: both name the model to fit on.")
    if asked.select_crop and (given["crop"] is not None or given["fov"] is not None):
        raise OptionError("--select-crop chooses the field of view: leave out --crop, --fov.")
    labels.refuse(select_crop=asked.select_crop, balanced=asked.balanced, held_out=asked.held_out)
    asked.prepare()
    options = RunOptions.take({**given, "model": asked.add_to or given["model"]})
    fitting = _Fitting(open_pipeline(options), labels, asked, options.describe())
    _check_held_out(fitting.pipeline.model, asked.held_out)
    if labels.wanted is not None:
        head, embedded = fitting.fit_values(labels.wanted)
        said = _describe_values(head, embedded, asked.path)
    else:
        found, embedded = fitting.choose()
        head, said = found.head, _describe(found, embedded, asked.path)
    asked.write(head, embedded, fitting.pipeline.model)
    click.echo(said)


@dataclass(frozen=True)
class _Fitting:
    """Fits for one field of view after another."""

    pipeline: Pipeline
    labels: Labels
    asked: FitOptions
    pixels: Mapping[str, str]

    def choose(self) -> tuple[HeadFit, LabelledSet]:
        """The fit with the smallest cross-validated log loss."""
        crops = self.asked.select_crop or (_find_crop(self.pipeline),)
        fits, tried = [], {}
        for crop in crops:
            found, embedded = self._fit(crop)
            fits.append((found, embedded))
            tried[str(crop)] = {"log_loss": found.log_loss, "accuracy": found.accuracy}
            if len(crops) > 1:
                click.echo(
                    f"crop {crop}: log loss {found.log_loss:.4f}, accuracy {found.accuracy:.4f}",
                    err=True,
                )
        best = min(fits, key=lambda each: each[0].log_loss)
        if len(crops) > 1:
            best[0].head.notes["crops_tried"] = tried  # type: ignore[index]
        return best

    def fit_values(self, wanted: Wanted) -> tuple[Head, LabelledSet]:
        """A head of votes or numbers."""
        crop, asked = _find_crop(self.pipeline), self.asked
        embedded, values = embed_values(self.pipeline, self.labels, crop=crop, quiet=asked.quiet)
        how = {"name": asked.head_name, "seed": asked.seed, "crop": crop, "notes": self._note()}
        return wanted.fit(embedded.embeddings, values, **how), embedded

    def _note(self) -> dict[str, Any]:
        data = [_short_name(path) for path in self.labels.data or [self.labels.labels]]
        notes: dict[str, Any] = {"data": data, "held_out": self.asked.held_out}
        if self.pipeline.field.fov is not None:
            notes["fov"] = self.pipeline.field.fov
        if self.pixels:
            notes["pixels"] = self.pixels
        return notes

    def _fit(self, crop: Any) -> tuple[HeadFit, LabelledSet]:
        from galmorph.training.heads import fit_head

        asked = self.asked
        embedded = embed_set(self.pipeline, self.labels, crop=crop, quiet=asked.quiet)
        found = fit_head(
            embedded.embeddings,
            embedded.labels,
            embedded.class_names,
            name=asked.head_name,
            seed=asked.seed,
            crop=crop,
            balanced=asked.balanced,
            judges=_find_judges(embedded.object_ids, asked.held_out),
            notes=self._note(),
        )
        return found, embedded


def _find_judges(object_ids: Sequence[str], held_out: float | None) -> Any:
    """Rows whose labels the encoder has not seen; None where it has seen none at all."""
    import numpy as np

    from galmorph.training.data import is_held_out

    if held_out is None:
        return None
    return np.array([is_held_out(name, held_out) for name in object_ids])


def _find_crop(pipeline: Pipeline) -> Any:
    """Field of view as the head is to remember it, also where it is the model's own."""
    if pipeline.field.fov is not None:
        return None
    # Of a part that --center and --fov cut out it is all.
    return pipeline.model.preprocessing.crop if pipeline.field.crop is None else pipeline.field.crop


def _check_held_out(model: Model, fraction: float | None) -> None:
    """Refuse more of the labels than the training of the encoder has held out."""
    run = model.provenance.get("pretraining")
    recipe = run.get("recipe", {}) if isinstance(run, Mapping) else {}
    known = recipe.get("hold_out", 0)
    if fraction is not None and 0 < known < fraction:
        raise OptionError(
            f"--held-out {fraction:g}: the recipe of {model.name!r} held out {known:g} of the "
            "labels, and has learnt from the others; give no more than that."
        )


def _short_name(path: object) -> str:
    """File and folder only: where it lay on this machine tells others nothing."""
    return "/".join(Path(str(path)).parts[-2:])


def _describe_field(head: LinearHead) -> str:
    if head.crop is None:
        return f"field of view {head.notes['fov']} arcsec"
    return f"crop {head.crop if head.crop == 'auto' else round(head.crop, 4)}"


def _describe_values(head: Head, embedded: LabelledSet, path: str) -> str:
    from galmorph.heads.regression import RegressionHead

    lines = [f"{path}: head {head.name!r}, {len(embedded.labels)} cutouts"]
    if isinstance(head, RegressionHead):
        errors = zip(head.names, head.error, strict=True)
        said = ", ".join(f"{name} {error:.4g}" for name, error in errors)
    else:
        said = f"{head.notes['cross_validated_rmse']:.4f} of the shares of all people"
    lines.append(f"{head.notes['folds']}-fold cross-validation: rms error {said}")
    return "\n".join(lines)


def _describe(found: HeadFit, embedded: LabelledSet, path: str) -> str:
    head, (low, high) = found.head, found.interval
    counts = ", ".join(f"{k} {v}" for k, v in head.notes["class_counts"].items())
    of = "these" if head.notes["held_out"] is None else "those with held-out labels"
    lines = [
        f"{path}: head {head.name!r}, {len(embedded.labels)} cutouts ({counts})",
        f"{head.notes['folds']}-fold cross-validation on {of}: accuracy {found.accuracy:.4f} "
        f"(95 % interval {low:.4f} to {high:.4f}), "
        f"ECE {head.notes['cross_validated_ece']:.4f}",
        f"penalty 10^{math.log10(head.notes['penalty']):.1f}, "
        f"temperature {head.temperature:.3f}, {_describe_field(head)}",
    ]
    if embedded.unlabelled or embedded.failed:
        lines.append(f"{embedded.unlabelled} without a label, {len(embedded.failed)} failed")
    if embedded.repeated:
        lines.append(f"{embedded.repeated} named again, counted once")
    if "fov" in head.notes:
        lines.append(f"classify with the same field of view: --fov {head.notes['fov']}")
    if "pixels" in head.notes:
        given = " ".join(f"--{name} {value}" for name, value in head.notes["pixels"].items())
        lines.append(f"classify with pixels treated in the same way: {given}")
    return "\n".join(lines)
