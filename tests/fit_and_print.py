"""Fit heads of every kind to made-up embeddings and print their checksums."""

from __future__ import annotations

import numpy as np

from galmorph.heads.regression import Target
from galmorph.heads.votes import Question
from galmorph.inference.cores import keep_numpy_on_one_core
from galmorph.training.heads import fit_head
from galmorph.training.votes import fit_numbers, fit_votes
from galmorph.typicality import fit_typicality

QUESTIONS = (Question("smooth", ("smooth", "disk")),)


def main(rows: int = 300, width: int = 512) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    score = x[:, 0] + rng.normal(size=rows)
    labels = np.digitize(score, [-1, 1])
    head = fit_head(x, labels, ("a", "b", "c"), name="h", seed=0).head
    votes = rng.binomial(40, 1 / (1 + np.exp(-score)))
    shares = fit_votes(x, np.stack([votes, 40 - votes], 1), QUESTIONS, name="v").head
    numbers, _ = fit_numbers(x, score[:, None], (Target("t", -9, 9),), name="n")
    print(head.compute_sha256(), shares.compute_sha256(), numbers.compute_sha256())
    with keep_numpy_on_one_core():  # as `galmorph fit` and all runs
        print(fit_typicality(x).compute_atypicality(x).tobytes().hex())


if __name__ == "__main__":
    main()
