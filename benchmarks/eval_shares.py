"""How far the shares of the head `gz2` are from what people said, in folds that have not seen it.

    python benchmarks/eval_shares.py [MODEL] --cache FOLDER

`tools/make_heads.py` judges the shares by folds as well, but the tree that tells the shares of clean galaxies has
there seen the votes of all, and a few clean galaxies are among the ordinary ones. Here these are left out, and the tree
is fitted anew in each fold. Hidden units and the share of artifacts stay those of the model. Needs the folder that
GALMORPH_DATA names; embeddings are kept in --cache, which may be that of `tools/make_heads.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from common import ROOT, print_machine

import galmorph
from galmorph.heads import softmax
from galmorph.training.votes import Hidden, deal_folds, fit_votes

sys.path.insert(0, str(ROOT / "tools"))
import make_heads as made
from galaxy_zoo_tree import GZ2_QUESTIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", help="name or file [default: the default model]")
    parser.add_argument("--cache", type=Path, default=Path("embeddings"))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    print_machine()
    model = galmorph.load_model(options.model)
    images = made.Images(model, Path(os.environ["GALMORPH_DATA"]), options.cache)
    ordinary = made.read_vote_sets(images)
    x, votes, surveys, _, groups = ordinary
    known = {row["kaggle_id"] for row in made.read_rows(images.data, "gz2")}
    clean = made.read_clean(images, without=known)
    tree, gz2 = model.heads["tree"], model.heads["gz2"]
    hidden = Hidden(tree.hidden_weight, tree.hidden_bias)

    count = int((surveys == 0).sum())
    said = made.find_leaves(votes[:count] / votes[:count, :3].sum(axis=1, keepdims=True))
    fold = deal_folds(int(groups.max()) + 1, 0)[groups]
    logits = np.empty((count, said.shape[1] - 1))
    for number in range(fold.max() + 1):
        kept = tuple(part[fold != number] for part in ordinary)
        labels = dict(zip(("surveys", "weights", "groups"), kept[2:], strict=True))
        seen = fit_votes(*kept[:2], GZ2_QUESTIONS, name="tree", hidden=hidden, **labels).head
        rows = made.list_leaves(seen, kept, clean)
        weight, bias = made.fit_shares(rows)
        left = fold[:count] == number
        logits[left] = x[:count][left] @ weight.T + bias

    other = 1 / (1 + np.exp(-(x[:count] @ gz2.weight[-1] + gz2.bias[-1])))[:, None]
    own = softmax(logits / made.choose_temperature(logits, other, said)) * (1 - other)
    shares = np.concatenate([own, other], axis=1)
    right = (shares.argmax(axis=1) == said.argmax(axis=1)).mean()
    error = np.sqrt(((shares - said) ** 2).mean())
    folds = fold.max() + 1
    print(f"\n{count} ordinary galaxies, {folds} folds: rms error of the shares {error:.4f}")
    print(f"the largest share is what most people say for {right:.4f}")


if __name__ == "__main__":
    main()
