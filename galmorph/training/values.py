"""Votes and numbers of a user's own: read from a table, fitted, and told from others."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from galmorph.errors import CatalogueError, TrainingError
from galmorph.evaluation.report import ValueResult, compare_numbers, compare_shares
from galmorph.heads import Head
from galmorph.heads.regression import RegressionHead, Target
from galmorph.heads.votes import Question, VoteHead, slice_answers
from galmorph.quantities import Array
from galmorph.training.labelled import read_chunks, to_label
from galmorph.training.votes import deal_folds, fit_numbers, fit_votes


@dataclass(frozen=True)
class Wanted:
    """What is to be told: shares of the answers to questions, or else numbers."""

    questions: tuple[Question, ...] = ()
    numbers: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Where it stands in a table."""
        return tuple(a for q in self.questions for a in q.answers) + self.numbers

    def fit(self, embeddings: Array, values: Array, *, name: str, seed: int, **more: Any) -> Head:
        """A head for it, from ``values`` (n, num_columns)."""
        if self.questions:
            options = {"name": name, "seed": seed, **more}
            return fit_votes(embeddings, np.nan_to_num(values), self.questions, **options).head
        ends = zip(self.numbers, values.T, strict=True)
        targets = [Target(n, float(np.nanmin(v)), float(np.nanmax(v))) for n, v in ends]
        flat = [t.name for t in targets if not t.low < t.high]
        if flat:
            raise TrainingError(f"{flat[0]}: one value throughout is nothing to learn")
        return fit_numbers(embeddings, values, targets, name=name, seed=seed, **more)[0]

    def check(self, head: Head) -> None:
        """Refuse a head that tells something else."""
        own = head.names if isinstance(head, VoteHead | RegressionHead) else ()
        asked = tuple(c for q in self.questions for c in q.columns) + self.numbers
        if own != asked:
            raise TrainingError(
                f"the head {head.name!r} tells {', '.join(head.names)}, and the table has "
                f"{', '.join(asked)}: name the same columns in the same order"
            )


def read_values(
    path: Any, wanted: Wanted, *, id_column: str = "object_id"
) -> dict[str, list[float]]:
    """Read votes or numbers by object_id from a table; NaN where a cell is empty."""
    columns = (id_column, *wanted.columns)
    values: dict[str, list[float]] = {}
    for chunk in read_chunks(path, columns, id_column=id_column):
        for cell, *numbers in zip(*(chunk[n] for n in columns), strict=True):
            object_id = to_label(cell)
            if object_id in values:
                raise CatalogueError(f"{path}: {object_id!r} stands in two rows")
            if object_id:
                values[object_id] = [_to_number(c, f"{path}: {object_id}") for c in numbers]
    return values


def _to_number(cell: Any, where: str) -> float:
    text = to_label(cell)
    try:
        return float(text or "nan")
    except ValueError:
        raise CatalogueError(f"{where}: {text!r} is no number") from None


def predict_values(head: Head, embeddings: Array) -> Array:
    """What a head tells, in the order of the columns of the table."""
    if isinstance(head, VoteHead):
        return head.compute_shares(embeddings)
    assert isinstance(head, RegressionHead)
    return head.compute_values(embeddings)


def measure_values(
    wanted: Wanted, values: Array, told: Array, *, protocol: str, seed: int
) -> list[ValueResult]:
    """One result for a question or a number."""
    if wanted.questions:
        return [
            compare_shares(protocol, q.name, values[:, part], told[:, part], seed=seed)
            for q, part in slice_answers(wanted.questions)
        ]
    columns = zip(wanted.numbers, values.T, told.T, strict=True)
    return [compare_numbers(protocol, n, v, t, seed=seed) for n, v, t in columns]


def cross_predict_values(
    wanted: Wanted, embeddings: Array, values: Array, *, folds: int, seed: int
) -> Array:
    """What heads tell of the rows that they have not seen; everything is chosen inside a fold."""
    fold = deal_folds(len(embeddings), seed, folds)
    told = np.empty(values.shape)
    for number in range(folds):
        left = fold == number
        head = wanted.fit(embeddings[~left], values[~left], name="fold", seed=seed)
        told[left] = predict_values(head, embeddings[left])
    return told
