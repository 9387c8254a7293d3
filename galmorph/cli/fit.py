"""``galmorph fit``: a linear head on frozen embeddings, from labels of your own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.labelled import (
    Labels,
    check_of_classes,
    embed_set,
    embed_values,
    label_options,
    parse_crops,
    parse_values,
    split_classes,
    take_options,
)
from galmorph.cli.options import GroupedCommand
from galmorph.cli.outputs import overwrite_option, prepare_output

if TYPE_CHECKING:
    from galmorph.heads import Head, LinearHead
    from galmorph.model import Model
    from galmorph.pipeline import Pipeline
    from galmorph.training.heads import HeadFit
    from galmorph.training.labelled import LabelledSet
    from galmorph.training.values import Wanted

__all__ = ["fit"]

OWN_NOTES = frozenset(
    [
        "rows",
        "galaxies",
        "class_counts",
        "penalty",
        "balanced",
        "folds",
        "seed",
        "recut",
        "fov",
        "cross_validated_accuracy",
        "cross_validated_ece",
        "cross_validated_rmse",
        "cross_validated_coverage",
        "temperature_from",
        "data",
        "held_out",
        "pixels",
        "crops_tried",
    ]
)
"""What is noted of every head."""


@click.command(cls=GroupedCommand)
@label_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Head to write, for `galmorph classify --head FILE`; ends in .safetensors.",
)
@click.option(
    "--add-to",
    metavar="MODEL",
    help="Write the head into this model file (of `galmorph pretrain`), and fit on that model.",
)
@click.option("--name", metavar="NAME", help="Name of the head [default: the output's stem].")
@click.option(
    "--select-crop",
    metavar="F,F,...",
    help="Fields of view to choose from by cross-validation on DATA; `auto` may be among them.",
)
@click.option(
    "--balanced", is_flag=True, help="Give all classes the same weight, however rare they are."
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="F",
    help="The encoder was trained with the labels of DATA, but for the fraction F of them "
    "(hold_out of its recipe): choose penalty and temperature by those alone.",
)
@click.option(
    "--recut",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="F",
    help="Learn also from frames that end too early: half of DATA cut to F times the field of view "
    "and seen as --crop auto sees them.",
)
@click.option(
    "--typicality",
    is_flag=True,
    help="With --add-to: DATA are what the model takes for typical in the column atypicality; else "
    "the head alone does, where there are 400 cutouts or more.",
)
@overwrite_option
@click.option("--note", multiple=True, metavar="KEY=VALUE", help="Written into the head.")
def fit(
    labels: str,
    data: tuple[str, ...],
    output: str | None,
    add_to: str | None,
    name: str | None,
    select_crop: str | None,
    **given: Any,
) -> None:
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

    target = _Target.check(output, add_to, name, given.pop("typicality"))
    if add_to is not None:
        if given["model"] is not None:
            raise click.UsageError("Give --model or --add-to: both name the model to fit on.")
        given["model"] = add_to
    crops = parse_crops(select_crop, given["crop"], given["fov"])
    notes = _parse_notes(given.pop("note"))
    wanted = Labels(
        labels,
        data,
        given.pop("label_column"),
        given.pop("id_column"),
        given.pop("path_column"),
        split_classes(given.pop("classes")),
        given.pop("data_frame"),
        parse_values(given.pop("votes"), given.pop("numbers")),
    )
    if wanted.wanted is not None:
        own = {name: given[name] for name in ("balanced", "held_out", "recut")}
        check_of_classes(select_crop=select_crop, **own)
    options = take_options(given)
    seed, quiet, balanced = given.pop("seed"), given.pop("quiet"), given.pop("balanced")
    recut, held_out = given.pop("recut"), given.pop("held_out")
    fitting = _Fitting(
        open_pipeline(options),
        wanted,
        target.name,
        seed,
        balanced,
        quiet,
        notes,
        recut,
        held_out,
        options.describe(),
    )
    _check_held_out(fitting.pipeline.model, held_out)
    if wanted.wanted is not None:
        found, embedded = fitting.fit_values(wanted.wanted)
        target.write(found, embedded, fitting.pipeline.model, seed)
        click.echo(_describe_values(found, embedded, target.path))
        return
    if select_crop is None:
        crops = [_find_crop(fitting.pipeline)]
    fit, embedded = fitting.choose(crops)
    target.write(fit.head, embedded, fitting.pipeline.model, seed)
    click.echo(_describe(fit, embedded, target.path))


@dataclass(frozen=True)
class _Target:
    """Where the head goes."""

    path: str
    into_model: bool
    name: str
    typicality: bool

    @classmethod
    def check(
        cls, output: str | None, add_to: str | None, name: str | None, typicality: bool
    ) -> _Target:
        if bool(output) == bool(add_to):
            raise click.UsageError("Give -o FILE for a head of its own, or --add-to MODEL.")
        path = output or add_to or ""
        if not path.endswith(".safetensors"):
            raise click.UsageError(f"{path!r} must end in .safetensors.")
        if typicality and not add_to:
            raise click.UsageError("--typicality is kept in a model file: it needs --add-to MODEL.")
        if add_to and not name:
            raise click.UsageError("--add-to needs --name NAME, by which --head finds the head.")
        prepare_output(path, into=bool(add_to) or _is_whole_model(path))
        if output and _is_whole_model(output):
            raise click.UsageError(
                f"{output} is a whole model, and the head would replace it; write into it with "
                f"--add-to {output} --name NAME, or name another file with -o."
            )
        return cls(path, bool(add_to), name or Path(path).stem, typicality)

    def write(self, head: Head, embedded: LabelledSet, model: Model, seed: int) -> None:
        from galmorph.model import compute_signature, write_heads
        from galmorph.typicality import ENOUGH_ROWS, fit_typicality

        typical = None
        if self.typicality or len(embedded.labels) >= ENOUGH_ROWS:
            typical = fit_typicality(embedded.embeddings, seed=seed)
        if not self.typicality:  # else it is the model's, for all that has none of its own
            head, typical = replace(head, typicality=typical), None
        if not self.into_model:
            signature = compute_signature(model)
            write_heads(self.path, {self.name: head}, model=model.name, signature=signature)
            return
        from galmorph.training.export import add_to_model

        add_to_model(self.path, {self.name: head}, typicality=typical)


def _is_whole_model(path: str) -> bool:
    """Whether a file is there that holds a model of galmorph's, not heads alone."""
    from safetensors import SafetensorError, safe_open

    from galmorph.model import METADATA_KEY

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "null"))
    except (SafetensorError, OSError, ValueError):
        return False
    return isinstance(metadata, dict) and "architecture" in metadata


@dataclass(frozen=True)
class _Fitting:
    """Fits for one field of view after another."""

    pipeline: Pipeline
    labels: Labels
    name: str
    seed: int
    balanced: bool
    quiet: bool
    notes: dict[str, Any]
    recut: float | None = None
    held_out: float | None = None
    pixels: dict[str, str] = field(default_factory=dict)

    def choose(self, crops: Sequence[Any]) -> tuple[HeadFit, LabelledSet]:
        """The fit with the smallest cross-validated log loss."""
        best: tuple[HeadFit, LabelledSet] | None = None
        tried = {}
        for crop in crops:
            found, embedded = self._fit(crop)
            tried[str(crop)] = {"log_loss": found.log_loss, "accuracy": found.accuracy}
            if len(crops) > 1:
                click.echo(
                    f"crop {crop}: log loss {found.log_loss:.4f}, accuracy {found.accuracy:.4f}",
                    err=True,
                )
            if best is None or found.log_loss < best[0].log_loss:
                best = found, embedded
        assert best is not None
        if len(crops) > 1:
            best[0].head.notes["crops_tried"] = tried  # type: ignore[index]
        return best

    def fit_values(self, wanted: Wanted) -> tuple[Head, LabelledSet]:
        """A head of votes or numbers."""
        crop = _find_crop(self.pipeline)
        embedded, values = embed_values(self.pipeline, self.labels, crop=crop, quiet=self.quiet)
        options = {"name": self.name, "seed": self.seed, "crop": crop, "notes": self._note()}
        return wanted.fit(embedded.embeddings, values, **options), embedded

    def _note(self) -> dict[str, Any]:
        data = [_short_name(path) for path in self.labels.data or [self.labels.labels]]
        notes = {"data": data, "held_out": self.held_out, **self.notes}
        if self.pipeline.field.fov is not None:
            notes["fov"] = self.pipeline.field.fov
        if self.pixels:
            notes["pixels"] = self.pixels
        return notes

    def _fit(self, crop: Any) -> tuple[HeadFit, LabelledSet]:
        import numpy as np

        from galmorph.training.heads import fit_head
        from galmorph.training.labelled import join_sets

        embedded = embed_set(self.pipeline, self.labels, crop=crop, quiet=self.quiet)
        notes, rows = self._note(), embedded
        if self.recut is not None:
            notes["recut"] = self.recut
            rows = join_sets(embedded, self._embed_recut(crop, embedded.class_names))
        found = fit_head(
            rows.embeddings,
            rows.labels,
            rows.class_names,
            name=self.name,
            seed=self.seed,
            crop=crop,
            groups=None
            if self.recut is None
            else np.unique(rows.addresses, return_inverse=True)[1],
            originals=np.arange(len(rows.labels)) < len(embedded.labels),
            balanced=self.balanced,
            judges=self._find_judges(rows.object_ids),
            notes=notes,
        )
        return found, embedded

    def _find_judges(self, object_ids: Sequence[str]) -> Any:
        """Rows whose labels the encoder has not seen; None where it has seen none at all."""
        import numpy as np

        from galmorph.training.data import is_held_out

        if self.held_out is None:
            return None
        return np.array([is_held_out(name, self.held_out) for name in object_ids])

    def _embed_recut(self, crop: Any, class_names: tuple[str, ...]) -> LabelledSet:
        """The same cutouts in frames of a part of their field, as ``--crop auto`` sees them."""
        from galmorph.training.recut import Recut

        if self.pipeline.field.fov is not None or crop == "auto":
            raise click.UsageError("--recut needs a field that is a fraction of the frame.")
        side = min(1.0, self.recut * crop / self.labels.data_frame)
        recut = Recut(side, seed=self.seed)
        labels = replace(self.labels, class_names=class_names)
        return embed_set(self.pipeline, labels, crop="auto", quiet=True, recut=recut)


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
        raise click.UsageError(
            f"--held-out {fraction:g}: the recipe of {model.name!r} held out {known:g} of the "
            "labels, and has learnt from the others; give no more than that."
        )


def _short_name(path: object) -> str:
    """File and folder only: where it lay on this machine tells others nothing."""
    return "/".join(Path(str(path)).parts[-2:])


def _parse_notes(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if not all(key and equals for key, equals, _ in pairs):
        raise click.UsageError("--note reads KEY=VALUE.")
    taken = sorted(OWN_NOTES.intersection(key for key, _, _ in pairs))
    if taken:
        raise click.UsageError(
            f"--note {taken[0]}=... is written by fit itself; choose another key."
        )
    return {key: value for key, _, value in pairs}


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
