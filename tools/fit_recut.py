"""A head of classes that also learns from frames that end too early, for ``--crop auto``.

    python tools/fit_recut.py MODEL SHARD... --name gz2_clean --classes round,spiral --data-frame F

As ``galmorph fit folders SHARD... --add-to MODEL --typicality``; half of the cutouts are also cut to
a part of the field of view and seen as ``--crop auto`` sees them, as are those of ``--measured``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from galmorph.images.cutout import Cutout
from galmorph.images.discover import discover_sources
from galmorph.images.memory import InMemory
from galmorph.images.read import read_cutout
from galmorph.images.source import Source
from galmorph.model import read_model
from galmorph.pipeline import Pipeline
from galmorph.settings import EngineOptions, FieldOptions, ReadOptions
from galmorph.training.data import is_held_out
from galmorph.training.export import add_to_model
from galmorph.training.heads import HeadFit, fit_head
from galmorph.training.labelled import LabelledSet, choose_field, embed_labelled, label_by_folder
from galmorph.typicality import fit_typicality

RECUT_SHARE = 0.5
"""Part of the cutouts that is also learnt from as smaller frames."""

RECUT_WEIGHT, MEASURED_WEIGHT = 0.3, 3.0
"""Of a smaller frame and of a galaxy of the other survey, where a whole frame has 1."""

ONE_CLASS = {"unbarred_spiral": "spiral", "barred_spiral": "spiral"}


@dataclass(frozen=True, slots=True)
class Recut:
    """Smaller frames made of some cutouts, which are taken by chance."""

    side: float  # of the new frame, as a fraction of the shorter side of the image
    share: float = RECUT_SHARE
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.side <= 1 and 0 < self.share <= 1):
            raise ValueError(f"side and share lie in 0 to 1, not {self.side} and {self.share}")


def cut_center(cutout: Cutout, side: float) -> Cutout:
    """Central square of a cutout, ``side`` times its shorter side."""
    height, width = cutout.array.shape[1:]
    pixels = max(1, round(side * min(height, width)))
    y, x = (height - pixels) // 2, (width - pixels) // 2
    rows, columns = slice(y, y + pixels), slice(x, x + pixels)
    bad = None if cutout.bad is None else cutout.bad[rows, columns]
    return replace(cutout, array=cutout.array[:, rows, columns], bad=bad)


def label_by_class(source: Source) -> str | None:
    """Label by folder, where some classes are one."""
    name = label_by_folder(source)
    return ONE_CLASS.get(name or "", name)


def recut_sources(
    sources: Iterable[Source], recut: Recut, *, options: ReadOptions
) -> Iterator[Source]:
    """Read some of the sources and pass on the middle of each; what cannot be read is left out."""
    rng = np.random.default_rng(recut.seed)
    for source in sources:
        if rng.random() >= recut.share:
            continue
        try:
            cutout = read_cutout(source, options=options)
        except Exception:  # as where whole frames are read, which names the file
            continue
        smaller = cut_center(cutout, recut.side)
        yield InMemory(source.object_id, smaller, source.address, source.columns)


def fit_on_both(
    pipeline: Pipeline,
    data: list[str],
    classes: tuple[str, ...],
    *,
    name: str,
    data_frame: float = 1.0,
    recut: float = 0.5,
    measured: list[str] | None = None,
    held_out: float | None = None,
    seed: int = 0,
) -> tuple[HeadFit, LabelledSet]:
    """The fit on whole and on smaller frames and what is measured; and the whole ones alone."""
    crop = pipeline.model.preprocessing.crop
    seen = choose_field(crop, pipeline.model.preprocessing, data_frame=data_frame)
    whole = embed_labelled(
        replace(pipeline, field=seen), discover_sources(data), label_by_folder, class_names=classes
    )
    made = Recut(min(1.0, recut * crop / data_frame), seed=seed)
    auto = replace(pipeline, field=FieldOptions(crop="auto"))
    smaller = embed_labelled(
        auto,
        recut_sources(discover_sources(data), made, options=pipeline.read),
        label_by_folder,
        class_names=classes,
    )
    sets, weights = [whole, smaller], [1.0, RECUT_WEIGHT]
    if measured:
        sources = discover_sources(measured)
        sets.append(embed_labelled(auto, sources, label_by_class, class_names=classes))
        weights.append(MEASURED_WEIGHT)
    ids = [name for part in sets for name in part.object_ids]
    addresses = [place for part in sets for place in part.addresses]
    weight = np.repeat(weights, [len(part.labels) for part in sets])
    judges = None if held_out is None else np.array([is_held_out(i, held_out) for i in ids])
    found = fit_head(
        np.concatenate([part.embeddings for part in sets]),
        np.concatenate([part.labels for part in sets]),
        classes,
        name=name,
        seed=seed,
        groups=np.unique(addresses, return_inverse=True)[1],
        originals=np.arange(len(ids)) < len(whole.labels),
        judges=judges,
        weights=weight / weight.mean(),
        notes={
            "data": ["/".join(Path(path).parts[-2:]) for path in [*data, *(measured or [])]],
            "held_out": held_out,
            "recut": recut,
        },
    )
    if measured:
        truth = sets[-1].labels
        right = found.logits[-len(truth) :].argmax(axis=1) == truth
        about = {"measured_rows": len(truth), "cross_validated_measured": float(right.mean())}
        found = replace(found, head=replace(found.head, notes={**found.head.notes, **about}))
    return found, whole


def main() -> None:
    """Fit, and write into the model."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", help="model file, which gets the head and what is typical")
    parser.add_argument("data", nargs="+", help="images in folders that name their classes")
    parser.add_argument("--name", required=True)
    parser.add_argument("--classes", required=True, help="A,B,...")
    parser.add_argument("--data-frame", type=float, default=1.0)
    parser.add_argument("--recut", type=float, default=0.5, help="part of the field of view")
    parser.add_argument("--measured", nargs="+", help="images not scaled to the galaxy")
    parser.add_argument("--held-out", type=float)
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    pipeline = Pipeline(read_model(given.model), options=EngineOptions(workers=given.workers))
    found, whole = fit_on_both(
        pipeline,
        given.data,
        tuple(given.classes.split(",")),
        name=given.name,
        data_frame=given.data_frame,
        recut=given.recut,
        measured=given.measured,
        held_out=given.held_out,
    )
    add_to_model(given.model, {given.name: found.head}, typicality=fit_typicality(whole.embeddings))
    print(f"{given.name}: cross-validated accuracy {found.accuracy:.4f}", found.head.notes)


if __name__ == "__main__":
    main()
