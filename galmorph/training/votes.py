"""Vote heads and regression heads fitted on frozen embeddings, chosen by cross-validation."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from galmorph.errors import TrainingError
from galmorph.heads.base import add_hidden
from galmorph.heads.linear import softmax
from galmorph.heads.regression import RegressionHead, Target
from galmorph.heads.votes import (
    COVERAGE,
    VOTERS,
    Question,
    VoteHead,
    compute_reach,
    find_interval,
    slice_answers,
)
from galmorph.inference.cores import one_thread
from galmorph.quantities import Array
from galmorph.training.logistic import cross_predict, fit_path, standardize

logger = logging.getLogger(__name__)


PENALTIES = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03, 0.015)  # of vote heads, strongest first
RIDGES = tuple(float(r) for r in 10.0 ** np.arange(0.5, -3.1, -0.25))  # per row, of the variance
CONCENTRATIONS = np.geomspace(1.0, 300.0, 40)
MIN_VOTES = 5  # answers to a question without which a galaxy has no say on its intervals
ROUNDING = 1e-3  # of shares in catalogues
FOLDS = 10
GAIN = 4.0  # standard deviations of hidden units for one of an embedding's components
OFFSET = 10.0  # the same for what tells surveys apart
MIN_ROWS = 40  # galaxies without which neither penalty nor error can be found


class Hidden(NamedTuple):
    """A layer of sigmoid units that other heads have learnt."""

    weight: Array
    bias: Array

    @classmethod
    def none(cls, num_features: int) -> Self:
        """No unit at all."""
        return cls(np.zeros((0, num_features), np.float32), np.zeros(0, np.float32))


class VoteFit(NamedTuple):
    """A fitted head, and the shares (n, num_answers) that cross-validation gave to its rows."""

    head: VoteHead
    shares: Array


@dataclass(frozen=True)
class _Features:
    """Embedding and hidden units, standardized so that one penalty suits all."""

    rows: Array
    width: int
    gain: Array

    @classmethod
    def make(cls, embeddings: Array, hidden: Hidden, surveys: Array | None = None) -> Self:
        found = add_hidden(np.asarray(embeddings, np.float64), *hidden)
        gain = np.repeat([1.0, GAIN], [embeddings.shape[1], len(hidden.bias)])
        scale = standardize(found)
        gain = gain / scale.std
        rows = (found - scale.mean) * gain
        if surveys is not None:
            others = np.eye(int(surveys.max()) + 1)[surveys][:, 1:] * OFFSET
            rows = np.concatenate([rows, others], axis=1)
        return cls(rows, len(gain), np.stack([gain, scale.mean]))

    def fold(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Coefficients for features as they come, of the first survey."""
        gain, mean = self.gain
        own = weight[:, : self.width] * gain
        return own.astype(np.float32), (bias - own @ mean).astype(np.float32)


def deal_folds(count: int, seed: int, folds: int = FOLDS) -> Array:
    """A fold for each of so many galaxies."""
    if count < MIN_ROWS:
        raise TrainingError(f"{count} cutouts are too few to fit on; {MIN_ROWS} are needed")
    return np.asarray(np.random.default_rng(seed).permutation(np.arange(count) % folds))


@one_thread()
def fit_votes(
    embeddings: Array,
    votes: Array,
    questions: Sequence[Question],
    *,
    name: str,
    seed: int = 0,
    hidden: Hidden | None = None,
    surveys: Array | None = None,
    weights: Array | None = None,
    groups: Array | None = None,
    voters: int = VOTERS,
    crop: Any = None,
    notes: Mapping[str, Any] | None = None,
) -> VoteFit:
    """Fit a vote head by a masked, reach-weighted likelihood.

    ``votes`` (n, num_answers) need not be whole. Rows of one of the ``groups`` stay in one fold.
    ``surveys`` (n,) have offsets of their own: the head is for number 0, which chooses the penalty.
    """
    questions, hidden = tuple(questions), hidden or Hidden.none(embeddings.shape[1])
    if not (np.isfinite(embeddings).all() and np.isfinite(votes).all() and (votes >= 0).all()):
        raise TrainingError("embeddings and votes must be finite, votes 0 or more")
    first = np.ones(len(votes), bool) if surveys is None else surveys == 0
    people = votes[:, : len(questions[0].answers)].sum(axis=1)
    if not (people > 0).all():
        raise TrainingError(f"{(people <= 0).sum()} cutouts have no vote on {questions[0].name!r}")
    targets = votes / people[:, None]
    sizes = [len(question.answers) for question in questions]
    features = _Features.make(embeddings, hidden, surveys)
    members = np.arange(len(votes)) if groups is None else np.unique(groups, return_inverse=True)[1]
    fold = deal_folds(int(members.max()) + 1, seed)[members]
    given = None if weights is None else weights / weights.mean()
    best = (np.inf, PENALTIES[0], targets)
    options: dict[str, Any] = {"sizes": sizes, "weights": given}
    for penalty, logits in cross_predict(features.rows, targets, fold, PENALTIES, **options):
        shares = _to_shares(logits, questions)
        loss = -float((targets * np.log(shares))[first].sum(axis=1).mean())
        logger.info("penalty %.3f: log loss %.4f", penalty, loss)
        if loss > best[0]:
            break
        best = (loss, penalty, shares)
    path = [p for p in PENALTIES if p >= best[1]]
    weight, bias = features.fold(*list(fit_path(features.rows, targets, path, **options))[-1])
    about = {"rows": int(first.sum()), "penalty": best[1], "folds": FOLDS, "seed": seed}
    judged = votes[first], best[2][first], questions
    about |= {**measure_votes(*judged), **(notes or {})}
    fitted = weight, bias, _find_concentrations(*judged)
    head = VoteHead(name, questions, *fitted, *hidden, voters, crop=crop, notes=about)
    return VoteFit(head, best[2])


def _to_shares(logits: Array, questions: Sequence[Question]) -> Array:
    parts = [softmax(logits[:, answers]) for _, answers in slice_answers(questions)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def join_shares(shares: Array, questions: Sequence[Question]) -> Array:
    """Shares of all people, from those of the people who reach each question."""
    reach = compute_reach(questions, shares)
    people: Array = np.repeat(reach, [len(q.answers) for q in questions], axis=1)
    return shares * people


def measure_votes(votes: Array, shares: Array, questions: Sequence[Question]) -> dict[str, float]:
    """Root mean square difference from the shares of all people; coverage of the intervals."""
    counted = votes / votes[:, : len(questions[0].answers)].sum(axis=1, keepdims=True)
    difference = join_shares(shares, questions) - counted
    return {
        "cross_validated_rmse": float(np.sqrt((difference**2).mean())),
        "cross_validated_coverage": measure_coverage(votes, shares, questions),
    }


def _find_concentrations(votes: Array, shares: Array, questions: Sequence[Question]) -> Array:
    """For each question the one whose intervals hold as many counted shares as they should."""
    found = []
    for question, answers in slice_answers(questions):
        held = [_find_held(votes[:, answers], shares[:, answers], c) for c in CONCENTRATIONS]
        misses = [abs(each.mean() - COVERAGE) for each in held]
        logger.info("%s: %.3f from the coverage", question.name, min(misses))
        found.append(CONCENTRATIONS[int(np.argmin(misses))])
    return np.array(found, dtype=np.float32)


def _find_held(votes: Array, shares: Array, concentration: float) -> Array:
    """Whether intervals hold what was counted, (m, k), where enough people answered."""
    people = votes.sum(axis=1)
    some = people >= min(MIN_VOTES, people.max())
    counted = votes[some] / people[some, None]
    low, high = find_interval(shares[some], concentration, np.rint(people[some]))
    return np.asarray((counted >= low - ROUNDING) & (counted <= high + ROUNDING))


def measure_coverage(votes: Array, shares: Array, questions: Sequence[Question]) -> float:
    """Part of the counted shares in intervals that the other half of the rows has chosen."""
    half, held = np.arange(len(votes)) % 2 == 0, []
    for chosen, left in ((half, ~half), (~half, half)):
        concentrations = _find_concentrations(votes[chosen], shares[chosen], questions)
        pairs = zip(concentrations, slice_answers(questions), strict=True)
        for concentration, (_, answers) in pairs:
            part = votes[left][:, answers], shares[left][:, answers]
            held.append(_find_held(*part, float(concentration)).ravel())
    return float(np.concatenate(held).mean())


@one_thread()
def fit_numbers(
    embeddings: Array,
    values: Array,
    targets: Sequence[Target],
    *,
    name: str,
    seed: int = 0,
    hidden: Hidden | None = None,
    crop: Any = None,
    notes: Mapping[str, Any] | None = None,
) -> tuple[RegressionHead, Array]:
    """Fit a regression head by ridge regression; the head, and its values out of fold."""
    hidden = hidden or Hidden.none(embeddings.shape[1])
    features = _Features.make(embeddings, hidden)
    fold = deal_folds(len(embeddings), seed)
    out = np.full(values.shape, np.nan)
    weights, biases, errors = [], [], []
    for k, target in enumerate(targets):
        known = np.isfinite(values[:, k])
        if known.sum() < MIN_ROWS:
            raise TrainingError(f"{target.name}: {known.sum()} numbers; {MIN_ROWS} are needed")
        x, y = features.rows[known], values[known, k]
        tried = [np.empty(len(y)) for _ in RIDGES]
        for number in range(FOLDS):
            left = fold[known] == number
            for guess, (weight, bias) in zip(tried, _fit_ridge(x[~left], y[~left]), strict=True):
                guess[left] = np.clip(x[left] @ weight + bias, target.low, target.high)
        error = [float(np.sqrt(((guess - y) ** 2).mean())) for guess in tried]
        best = int(np.argmin(error))
        row, level = features.fold(*(np.array([part]) for part in _fit_ridge(x, y)[best]))
        out[known, k] = tried[best]
        weights.append(row[0])
        biases.append(level[0])
        errors.append(error[best])
    offsets, rms = (np.array(each, dtype=np.float32) for each in (biases, errors))
    fitted = np.stack(weights), offsets, rms
    about = {"rows": len(values), "folds": FOLDS, "seed": seed, **(notes or {})}
    return RegressionHead(name, tuple(targets), *fitted, *hidden, crop=crop, notes=about), out


def _fit_ridge(x: Array, y: Array) -> list[tuple[Array, float]]:
    """Weight and bias for each of `RIDGES`, by one decomposition."""
    mean, level = x.mean(axis=0), float(y.mean())
    centred = torch.from_numpy(x - mean)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(y))
    moment = vectors.T @ (centred.T @ torch.from_numpy(y - level)) / len(y)
    found = []
    for ridge in RIDGES:
        weight = (vectors @ (moment / (values.clamp(min=0) + ridge))).numpy()
        found.append((weight, level - float(weight @ mean)))
    return found
