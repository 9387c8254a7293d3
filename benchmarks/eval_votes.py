"""What people see and what the heads say: figures of `gz2`, `gz2_votes`, `tree` and `efigi`.

    python benchmarks/eval_votes.py [MODEL]

Cross-validated figures stand in the heads, as `tools/make_heads.py` found them on training data;
the others are measured here, with no option given, on test parts, DECaLS and artifacts in the
folder that GALMORPH_DATA names, and on made images of sky, noise, stars and trails.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

import galmorph

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from make_heads import make_empty

RENAMED = {"unbarred_spiral": "spiral", "barred_spiral": "spiral"}
SEED = 10_000
"""Of made images that no head has seen."""


def tell(name: str, table: object, classes: set[str]) -> None:
    """Accuracy, flagged rows, and how well atypicality tells wrong labels."""
    from sklearn.metrics import roc_auc_score

    truth = [Path(path).parent.name for path in table["path"]]
    truth = np.array([RENAMED.get(text, text) for text in truth])
    label, atypical = np.array(table["label"]), np.array(table["atypicality"])
    known = np.isin(truth, sorted(classes))
    wrong = label[known] != truth[known]
    line = (
        f"{name}: flagged {np.mean(atypical > 99):.3f}, artifact {np.mean(label == 'artifact'):.3f}"
    )
    if known.any():
        auc = roc_auc_score(wrong, atypical[known])
        line += f", right {1 - wrong.mean():.4f} of {known.sum()}, AUC of wrong labels {auc:.3f}"
    print(line, flush=True)


def main() -> None:
    """Measure and print."""
    data = Path(os.environ.get("GALMORPH_DATA", "../shared/data"))
    model = galmorph.load_model(sys.argv[1] if len(sys.argv) > 1 else None)
    for name in ("gz2", "gz2_votes", "tree", "efigi"):
        notes = {k: v for k, v in model.heads[name].notes.items() if not isinstance(v, dict)}
        print(name, notes)
    errors = {
        t.name: float(e)
        for t, e in zip(model.heads["efigi"].targets, model.heads["efigi"].error, strict=True)
    }
    print("efigi, root mean square errors", errors)
    classes = set(model.heads["gz2"].class_names)
    for folder in ("gz2/test", "decals", "artifacts"):
        tell(folder, galmorph.classify(data / folder, model=model), classes)
    made = [make_empty(SEED + k) for k in range(100)]
    tell("sky, noise, stars, trails", galmorph.classify(made, model=model), classes)


if __name__ == "__main__":
    main()
