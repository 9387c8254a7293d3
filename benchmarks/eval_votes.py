"""What people see and what the heads say: figures of `gz2`, `tree`, `efigi`, flags and artifacts.

    python benchmarks/eval_votes.py [MODEL]

Cross-validated figures stand in the heads, as the tools that made them found them on training data;
the others are measured here, with no option given, on test parts, DECaLS (from which `gz2_clean` has
learned, so that what is right there is no test) and artifacts in the folder that GALMORPH_DATA names,
on made images of sky, noise, stars and trails, and on frames that are made to show a galaxy badly.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np

import galmorph
from galmorph.evaluation.classification import stratified_folds
from galmorph.flags import Flags
from galmorph.heads import softmax
from galmorph.training.logistic import cross_predict

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from make_heads import compute_auc, make_empty
from odd_frames import KINDS, make_odd_of

RENAMED = {
    "gz2": {"unbarred_spiral": "spiral", "barred_spiral": "spiral"},
    "sdss": dict.fromkeys(("round", "in_between", "cigar"), "elliptical"),
}
"""Classes that count as one: of DECaLS, and of the head where labels are those of SDSS."""

SEED = 10_000
"""Of made images that no head has seen."""


def tell(name: str, table: object, classes: set[str]) -> object:
    """Accuracy, flagged rows, and how well atypicality tells wrong labels; the table again."""
    truth = [Path(path).parent.name for path in table["path"]]
    truth = np.array([RENAMED["gz2"].get(text, text) for text in truth])
    label, atypical = np.array(table["label"]), np.array(table["atypicality"])
    if name.startswith("sdss"):
        label = np.array([RENAMED["sdss"].get(text, text) for text in label])
        classes = classes | {"elliptical"}
    bad = (np.array(table["flags"]) & int(Flags.BADLY_FRAMED)) > 0
    line = (
        f"{name}: atypical {np.mean(atypical > 99):.3f}, badly framed {bad.mean():.3f}, "
        f"artifact {np.mean(label == 'artifact'):.3f}"
    )
    known = np.isin(truth, sorted(classes))
    if known.any():
        wrong = label[known] != truth[known]
        auc = compute_auc(atypical[known][wrong], atypical[known][~wrong])
        line += f", right {1 - wrong.mean():.4f} of {known.sum()}, AUC of wrong labels {auc:.3f}"
    print(line, flush=True)
    return table


def tell_clean_and_votes(data: Path) -> None:
    """Of clean galaxies with known votes: how often most people say what the clean class is."""
    with (data / "votes" / "gz2.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kaggle_id"]]
    from make_heads import LEAVES, find_leaves, read_votes

    votes = read_votes(rows)
    said = find_leaves(votes / votes[:, :3].sum(axis=1, keepdims=True)).argmax(axis=1)
    clean = {}
    for shard in sorted((data / "gz2").glob("train-*.tar")):
        import tarfile

        with tarfile.open(shard) as tar:
            clean |= {Path(n).stem: Path(n).parent.name for n in tar.getnames()}
    for name in LEAVES[:-1]:
        rows_of = [k for k, row in enumerate(rows) if clean.get(row["kaggle_id"]) == name]
        same = sum(LEAVES[said[k]] == name for k in rows_of)
        print(f"clean {name} with known votes: most people say so of {same} of {len(rows_of)}")


def tell_merging(data: Path, model: galmorph.Model) -> None:
    """How well heads like `decals`, in five folds, tell merging galaxies from others."""
    files = sorted((data / "decals").rglob("*.jpg"))
    classes, labels = np.unique([file.parent.name for file in files], return_inverse=True)
    embedded = galmorph.embed(files, model=model, crop="auto")
    fold = stratified_folds(labels, 5, seed=0)
    penalties = [model.heads["decals"].notes["penalty"]]
    ((_, logits),) = cross_predict(embedded, np.eye(len(classes))[labels], fold, penalties)
    place = list(classes).index("merging")
    share, merging = softmax(logits)[:, place], labels == place
    print(f"decals, AUC of merging, 5 folds: {compute_auc(share[merging], share[~merging]):.3f}")


def main() -> None:
    """Measure and print."""
    data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    model = galmorph.load_model(sys.argv[1] if len(sys.argv) > 1 else None)
    efigi = galmorph.load_model("labelfree").heads["efigi"]
    for head in (*(model.heads[name] for name in ("gz2", "gz2_clean", "tree")), efigi):
        print(head.name, {k: v for k, v in head.notes.items() if not isinstance(v, dict)})
    pairs = zip(efigi.targets, efigi.error, strict=True)
    print("efigi, root mean square errors", {t.name: float(e) for t, e in pairs})
    tell_clean_and_votes(data)
    tell_merging(data, model)
    classes = set(model.heads["gz2"].class_names)
    shown = {
        folder: tell(folder, galmorph.classify(data / folder, model=model), classes)
        for folder in ("gz2/test", "sdss/test", "decals", "artifacts")
    }
    made = [make_empty(SEED + k) for k in range(100)]
    shown["sky"] = tell("sky, noise, stars, trails", galmorph.classify(made, model=model), classes)
    for name in ("artifacts", "sky"):
        for folder in ("gz2/test", "decals"):
            pair = (np.array(shown[key]["p_artifact"]) for key in (name, folder))
            print(f"p_artifact, AUC of {name} against {folder}: {compute_auc(*pair):.3f}")
    for folder in ("gz2/test", "sdss/test"):
        files = sorted((data / folder).rglob("*.jpg"))
        for kind in KINDS:
            frames = list(make_odd_of(kind, files[:: len(files) // 150]))
            tell(f"{folder}, made {kind}", galmorph.classify(frames, model=model), classes)


if __name__ == "__main__":
    main()
