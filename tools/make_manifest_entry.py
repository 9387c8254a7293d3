"""Bundle a model file and write its entry into the manifest, with the figures measured for it.

    python tools/make_manifest_entry.py fused_fast.safetensors figures.json

The figures are those of `make_weights.py`; golden values are computed from the file itself. The
default model stays what it is, unless ``--default`` is given.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from manifest_file import replace_entry, write_manifest

from galmorph.heads.regression import RegressionHead
from galmorph.model import Model, read_model
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.weights.locate import BUNDLED
from galmorph.weights.manifest import (
    ExpectedInput,
    FieldOfView,
    Golden,
    Head,
    ManifestEntry,
    Metric,
    load_manifest,
)
from galmorph.weights.verify import compute_sha256

MANIFEST = Path(__file__).resolve().parent.parent / "weights_manifest.json"
GOLDEN_SEED, GOLDEN_IMAGES, GOLDEN_VALUES = 20221108, 2, 16

LABELLED_DATA = (
    "35,789 cutouts: Galaxy Zoo 2 (23,919) and SDSS (4,506) with labels; Kaggle Galaxy Challenge "
    "(6,894) and Galaxy Zoo DECaLS (470) without"
)
TRAINING_DATA = {
    "fused_fast": LABELLED_DATA,
    "wei2022": LABELLED_DATA,
    "labelfree": (
        "37,704 cutouts without any label: Galaxy Zoo 2 (23,919), SDSS (4,506), Kaggle Galaxy "
        "Challenge (6,894), Galaxy Zoo DECaLS (470), EFIGI (1,915)"
    ),
}
LICENCE = {
    "labelfree": "BSD-3-Clause; the heads alone saw Galaxy Zoo labels, some of them non-commercial"
}
DESCRIPTION = {
    "labelfree": "The fast fused encoder, pretrained without any label as in Wei et al. 2022",
    "fused_fast": "Fused CNN-ViT encoder at a ninth of the operations of Wei et al. 2022",
    "wei2022": "The encoder of Wei et al. 2022 as published, with weights of our own training",
}
RECIPE = {
    "labelfree": (
        "VICReg on random views: labelfree.toml (480 steps), labelfree_last.toml (941 steps), "
        "labelfree.toml (2,058 steps); then with what is measured on the pixels: "
        "labelfree_measures.toml (588, 764, 1,533, 1,823 and 2,058 steps)"
    ),
    "fused_fast": (
        "contrastive (678 of 1,674 steps), guided without classifiers (1,814 steps), guided (2,930 "
        "steps), guided again (3,208 steps)"
    ),
    "wei2022": (
        "guided in batches of 64: on pixels averaged two by two (1,677 steps), then on all pixels "
        "(783, 1,342, 795, 671 and twice 2,795 steps)"
    ),
}
PAPER = "Wei et al. 2022, PASP 134, 114508 (the fusion of branches and the pretraining by contrast)"
HEAD_DATA = {
    "tree": "Votes on 330 Galaxy Zoo 2 (Hart et al. 2016), 263 SDSS and 213 DECaLS galaxies (Willett "
    "et al. 2013)",
    "efigi": "EFIGI, 1,915 galaxies with attributes by experts (Baillard et al. 2011)",
    "gz2": "Votes on 330 Galaxy Zoo 2, 263 SDSS and 213 DECaLS galaxies; 4,000 clean galaxies with "
    "shares that the tree gives; artifacts, and made images without a galaxy",
    "gz2_clean": "Galaxy Zoo 2 training part, 23,919 cutouts; Galaxy10 DECaLS, 644 of its classes",
    "classes alone": "Galaxy Zoo 2 training part, 23,919 cutouts",
    "sdss": "SDSS training part, 4,506 cutouts with Galaxy Zoo 1 labels (largest vote)",
    "decals": "Galaxy10 DECaLS, 820 cutouts",
    "decals4": "Galaxy10 DECaLS, the 480 cutouts of four classes",
}
MEASURED_ON = {
    "gz2": "gz2/test",
    "gz2_smooth": "gz2/test, classes merged to smooth, edge-on, spiral",
    "sdss": "sdss/test",
    "decals": "decals",
    "decals4": "decals, four classes",
}

OUT_OF_FOLD = "10-fold cross-validation"
ORDINARY = "votes/gz2, 330 ordinary galaxies"
NOTED = (
    ("tree", "cross_validated_rmse", "rmse", f"{ORDINARY}, 37 joint shares"),
    ("tree", "cross_validated_coverage", "coverage", f"{ORDINARY}, 80 % intervals"),
    ("tree", "cross_validated_auc_edge_on", "auc", f"{ORDINARY}, edge-on for half of all people"),
    ("gz2", "cross_validated_rmse", "rmse", f"{ORDINARY}, shares of five leaves and artifact"),
    ("gz2", "most_votes", "accuracy", f"{ORDINARY}, label = most votes"),
    ("gz2", "cross_validated_largest_share", "accuracy", f"{ORDINARY}, largest share = most votes"),
    ("gz2_clean", "cross_validated_measured", "accuracy", "decals, 644 of the five classes"),
    (
        "efigi",
        "cross_validated_t_type_but_dwarf_ellipticals",
        "rmse",
        "votes/efigi, t_type of all but dwarf ellipticals",
    ),
    ("efigi", "cross_validated_auc_bar", "auc", "votes/efigi, bar"),
    ("efigi", "cross_validated_auc_arms", "auc", "votes/efigi, arms"),
    ("efigi", "cross_validated_auc_perturbation", "auc", "votes/efigi, perturbation"),
)
"""Head, note, kind of figure, and the data it was found on."""


def describe_input(preprocessing: Preprocessing, crop: float | str | None = None) -> ExpectedInput:
    """What the encoder, or a head with a field of its own, expects."""
    if crop == "auto":
        field = FieldOfView(preprocessing.sizes_in_field, "petrosian_radius")
    else:
        field = FieldOfView(crop if isinstance(crop, float) else preprocessing.crop, "fraction")
    return ExpectedInput(
        bands=("red", "green", "blue"),
        field_of_view=field,
        img_size=preprocessing.img_size,
        interpolation="bilinear",
        stretch="rendered",
        mean=preprocessing.mean,
        std=preprocessing.std,
    )


def _find_data(head: Any) -> str:
    """A model without votes has the head of clean galaxies under the name that is asked for first."""
    return "classes alone" if head.name == "gz2" and head.kind == "linear" else str(head.name)


def describe_heads(model: Model) -> tuple[Head, ...]:
    """Entries of the heads in the file."""
    return tuple(
        Head(
            name,
            head.names,
            HEAD_DATA[_find_data(head)],
            None if head.crop is None else describe_input(model.preprocessing, head.crop),
        )
        for name, head in model.heads.items()
    )


def collect_metrics(figures: dict[str, Any]) -> tuple[Metric, ...]:
    """Accuracy by every protocol, and calibration error where there are probabilities."""
    metrics = []
    for key, data in MEASURED_ON.items():
        for result in figures.get(key, []):
            low, high = result["accuracy_interval_95"]
            protocol = result["protocol"]
            metrics.append(Metric("accuracy", result["accuracy"], data, protocol, (low, high)))
            if result["ece"] is not None:
                metrics.append(Metric("ece", result["ece"], data, protocol))
    return tuple(metrics)


def collect_notes(model: Model) -> Iterator[Metric]:
    """What the heads of votes and numbers found out of fold when `make_heads.py` fitted them."""
    for name, key, kind, data in NOTED:
        if name in model.heads and key in model.heads[name].notes:
            notes = model.heads[name].notes
            value, folds = float(notes[key]), f"{notes['folds']}-fold cross-validation"
            how = folds if key.startswith("cross_validated") else "no vote was used for it"
            yield Metric(kind, value, data, f"head {name!r}, {how}")
    efigi = model.heads.get("efigi")
    if isinstance(efigi, RegressionHead):
        for target, error in zip(efigi.targets, efigi.error, strict=True):
            found_by = f"head 'efigi', {OUT_OF_FOLD}"
            yield Metric("rmse", float(error), f"votes/efigi, {target.name}", found_by)


def compute_golden(model: Model) -> Golden:
    """The first values of the first embedding for a stated input."""
    preprocessing = model.preprocessing
    size = preprocessing.img_size
    rng = np.random.default_rng(GOLDEN_SEED)
    images = rng.random((GOLDEN_IMAGES, 3, size, size), dtype=np.float32)
    mean = np.float32(preprocessing.mean).reshape(3, 1, 1)
    std = np.float32(preprocessing.std).reshape(3, 1, 1)
    with torch.inference_mode():
        embedding = model.encoder(torch.from_numpy((images - mean) / std)).numpy()
    values = tuple(round(float(v), 6) for v in embedding[0, :GOLDEN_VALUES])
    return Golden(GOLDEN_SEED, GOLDEN_IMAGES, values)


def make_entry(file: Path, figures: dict[str, Any]) -> ManifestEntry:
    """The manifest entry of a bundled model."""
    model = read_model(file)
    return ManifestEntry(
        name=model.name,
        kind="galmorph",
        architecture=model.architecture,
        description=DESCRIPTION[model.name],
        licence=LICENCE.get(
            model.name, "BSD-3-Clause; trained with Galaxy Zoo labels, some of them non-commercial"
        ),
        filename=file.name,
        bundled=file.name,
        pinned=True,
        sha256=compute_sha256(file),
        size=file.stat().st_size,
        input=describe_input(model.preprocessing),
        embedding_width=model.encoder.num_features,
        training_data=TRAINING_DATA[model.name],
        recipe=RECIPE[model.name],
        paper=PAPER,
        heads=describe_heads(model),
        metrics=(*collect_metrics(figures), *collect_notes(model)),
        golden=compute_golden(model),
    )


def main() -> None:
    """Parse, bundle, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--default", action="store_true", help="make it the default model")
    options = parser.parse_args()
    bundled = BUNDLED / options.model.name
    if bundled.resolve() != options.model.resolve():
        shutil.copyfile(options.model, bundled)
    figures = json.loads(options.figures.read_text(encoding="utf-8"))
    entry = make_entry(bundled, figures)
    manifest = replace_entry(load_manifest(MANIFEST), entry)
    if options.default:
        manifest = dataclasses.replace(manifest, default_model=entry.name)
    write_manifest(manifest, MANIFEST)
    print(f"{MANIFEST.name}: {entry.name}, {entry.size} bytes, sha256 {entry.sha256}")


if __name__ == "__main__":
    main()
