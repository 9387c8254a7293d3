"""Linear heads fitted on frozen embeddings: penalty by cross-validation, calibrated temperature."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galmorph.errors import TrainingError
from galmorph.evaluation.classification import (
    bootstrap_interval,
    compute_accuracy,
    compute_ece,
    compute_log_loss,
    fit_temperature,
    stratified_folds,
)
from galmorph.heads import LinearHead, softmax
from galmorph.heads.linear import make_scores
from galmorph.inference.cores import one_thread
from galmorph.quantities import Array
from galmorph.tables.columns import join_names
from galmorph.training.labelled import Crop
from galmorph.training.logistic import (
    class_weights,
    cross_predict,
    fit_path,
    standardize,
)

logger = logging.getLogger(__name__)

PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(0.0, -6.1, -0.5))  # relative to the mean loss
FOLDS, FOLDS_OF_FEW = 5, 10
FEW = 2000  # galaxies below which five folds would leave the head under-confident
PATIENCE = 1  # weaker penalties that may do worse before the path is given up
MAX_NAMED = 5  # classes that a message names; the others are counted
MIN_JUDGES = 50  # rows with held-out labels without which no temperature is fitted


@dataclass(frozen=True)
class HeadFit:
    """A head, and what cross-validation inside the training part says of it."""

    head: LinearHead
    logits: Array  # (n, num_classes), out of fold, before the temperature
    log_loss: float  # in nats
    accuracy: float  # of one view of each galaxy
    interval: tuple[float, float]  # of the accuracy, 95 %


@one_thread()
def fit_head(
    embeddings: Array,
    labels: Array,
    class_names: Sequence[str],
    *,
    name: str,
    seed: int,
    penalties: Sequence[float] = PENALTIES,
    crop: Crop = None,
    groups: Array | None = None,
    balanced: bool = False,
    judges: Array | None = None,
    originals: Array | None = None,
    weights: Array | None = None,
    notes: Mapping[str, Any] | None = None,
) -> HeadFit:
    """Fit a multinomial logistic regression; penalty and temperature by cross-validation.

    ``labels`` (n,) index ``class_names``, or are shares (n, k). Rows of one of the ``groups`` stay
    in one fold. ``judges`` are rows whose labels the encoder does not know, ``originals`` are no
    further views: by these it is judged. ``weights`` are 1 on average. ``penalties`` are relative
    to the mean loss, strong ones first.
    """
    shares = labels if labels.ndim == 2 else np.eye(len(class_names))[labels]
    labels = shares.argmax(axis=1)
    if judges is None:
        judges = np.ones(len(labels), dtype=bool)
    elif judges.sum() < MIN_JUDGES:
        raise TrainingError(
            f"{judges.sum()} rows with held-out labels are too few to calibrate on; "
            f"{MIN_JUDGES} are needed"
        )
    galaxies = labels if groups is None else labels[np.unique(groups, return_index=True)[1]]
    counts = np.bincount(galaxies, minlength=len(class_names))
    class_counts = dict(zip(class_names, counts.tolist(), strict=True))
    folds = _check_rows(embeddings, labels, class_counts)
    fold = stratified_folds(labels, folds, seed=seed, groups=groups)
    if balanced:
        weights = class_weights(labels, len(class_names))
    penalty, logits = _choose_penalty(embeddings, shares, fold, penalties, weights, judges)
    truth, judged = shares[judges], logits[judges]
    temperature = fit_temperature(judged, truth)
    path, scale = [p for p in penalties if p >= penalty], standardize(embeddings)
    *_, last = fit_path(scale.apply(embeddings), shares, path, weights=weights)
    weight, bias = scale.fold(last)
    shown = judges if originals is None else judges & originals
    seen, said = labels[shown], logits[shown]
    accuracy = compute_accuracy(seen, said.argmax(axis=1))
    chosen = {
        "rows": len(labels),
        "galaxies": len(galaxies),
        "class_counts": class_counts,
        "penalty": penalty,
        "balanced": balanced,
        "folds": folds,
        "seed": seed,
        "cross_validated_accuracy": accuracy,
        "cross_validated_ece": compute_ece(softmax(said / temperature), seen),
        "temperature_from": "out-of-fold logits of the training part"
        if judges.all()
        else f"out-of-fold logits of the {judges.sum()} rows with labels new to the encoder",
    }
    head = LinearHead(
        name=name,
        class_names=tuple(class_names),
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        temperature=temperature,
        scores=make_scores(softmax(judged / temperature), labels[judges]),
        crop=crop,
        notes={**chosen, **(notes or {})},
    )
    return HeadFit(
        head,
        logits,
        log_loss=compute_log_loss(judged / temperature, truth),
        accuracy=accuracy,
        interval=bootstrap_interval(seen, said.argmax(axis=1), seed=seed),
    )


def _check_rows(embeddings: Array, labels: Array, counts: Mapping[str, int]) -> int:
    """Number of folds that the rarest class allows for."""
    if len(counts) < 2:
        raise TrainingError(f"a head needs two or more classes; there is {list(counts)}")
    if len(embeddings) != len(labels):
        raise TrainingError(f"{len(embeddings)} embeddings but {len(labels)} labels")
    if not np.isfinite(embeddings).all():
        raise TrainingError("embeddings must be finite; leave out the rows that have none")
    rare = [name for name, count in counts.items() if count < 2]
    if rare:
        raise TrainingError(
            f"classes need two members at least to be cross-validated; {len(rare)} of "
            f"{len(counts)} have fewer: {join_names(rare, MAX_NAMED)}; label more of them, "
            "or leave these classes out (--classes)"
        )
    folds = FOLDS_OF_FEW if sum(counts.values()) < FEW else FOLDS
    return min(folds, *counts.values())


def _choose_penalty(
    embeddings: Array,
    shares: Array,
    fold: Array,
    penalties: Sequence[float],
    weights: Array | None,
    judges: Array,
) -> tuple[float, Array]:
    """Penalty with the smallest calibrated log loss out of fold, and the logits behind it."""
    best = (np.inf, penalties[0], np.empty(shares.shape))
    worse = 0
    for penalty, logits in cross_predict(embeddings, shares, fold, penalties, weights=weights):
        judged, truth = logits[judges], shares[judges]
        loss = compute_log_loss(judged / fit_temperature(judged, truth), truth)
        logger.info("penalty %.1e: log loss %.4f", penalty, loss)
        worse = 0 if loss < best[0] else worse + 1
        if worse == 0:
            best = (loss, penalty, logits)
        if worse > PATIENCE:
            break
    return best[1], best[2]
